# The agent of this host. Every file of this folder is read, in the order of names; the settings are Consul's.
data_dir = "/var/lib/lictor"

# Below the MemoryMax of the unit: near it the agent turns requests away, at that one the kernel would kill it.
limits {
  memory = "224MiB"
}

# The servers to join: any member of the cluster will do.
# retry_join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

# On a server, one of three:
# server = true
# bootstrap_expect = 3
