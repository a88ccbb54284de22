// A lone server in a small office.
"data_dir" = "/var/lib/lictor"
datacenter = "Office-1"
node_name  = "attic"
server     = true
bootstrap  = true
bind_addr  = "127.0.0.1" client_addr = "127.0.0.1 ::1"
ports { http = 0x2134 dns = 8653 https = -1, serf_wan = -1 }
addresses = { http = "unix:///run/lictor.sock 127.0.0.1" }
dns_config {
  node_ttl = "30s"
  service_ttl { "*" = "5s", "web" = "1m" }
  a_record_limit = 2
  soa { min_ttl = 7 }
}
recursors = ["9.9.9.9", "[::1]:5353"]
node_meta { rack = "left" }
http_config {
  response_headers { "X-Office" = "yes" }
  block_endpoints = ["/v1/agent/monitor"]
  allow_write_http_from = ["127.0.0.0/8"]
}
limits { http_max_conns_per_client = 50 kv_max_value_size = 1048576 }
telemetry { prefix_filter = ["+consul.kvs", "-consul.raft"] prometheus_retention_time = "1h" }
service {
  name = "web"
  port = 80
  check { http = "http://127.0.0.1:80/" interval = "10s" }
}
checks = [{ id = "disk", name = "disk space", ttl = "30s" }]
