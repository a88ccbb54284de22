data_dir = "/tmp/data"
bind_addr = "127.0.0.1"
node_name = "first"
recursors = ["1.1.1.1"]
node_meta { a = "1" b = "1" }
service { name = "one" }
