//! What the agent takes of its host: the `profile`.
//!
//! Owns the figures of each profile and nothing else; the rooms that use them get them from the settings. A figure
//! that has a configuration key of its own is only that key's default here.

use std::time::Duration;

use agent_raft::disk::file::Tuning;

/// Threads, sockets, memory and patience of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Threads that run tasks, at most: never more than the host has processors. More would only cost memory, since the
    /// work of one server is bound by its one log.
    pub worker_threads_max: usize,
    /// Threads for files and names, which block.
    pub blocking_threads_max: usize,
    /// Sockets of each DNS address, at most: never more than the host has processors.
    pub dns_sockets_max: usize,
    /// What a client keeps of answers for the time without servers, in bytes.
    pub seen_bytes_max: usize,
    /// The default of `limits.http_max_conns_per_client`.
    pub http_conns_per_client_max: usize,
    /// The default of `plugin_memory_max`, in bytes.
    pub plugin_memory_bytes_max: u64,
    /// The largest buffer of an HTTP connection, which bounds a request's line and headers, in bytes.
    pub http_buffer_bytes_max: usize,
    /// A server's log on its disk.
    pub log: Tuning,
}

impl Default for Resources {
    /// The profile `default`: as quick as the host allows.
    fn default() -> Self {
        Resources {
            worker_threads_max: 4,
            blocking_threads_max: 16,
            dns_sockets_max: 4,
            seen_bytes_max: 4 << 20,
            http_conns_per_client_max: 200,
            plugin_memory_bytes_max: 64 << 20,
            http_buffer_bytes_max: 16 << 10,
            log: Tuning::default(),
        }
    }
}

impl Resources {
    /// The figures of a profile: `default`, or `edge` for hosts with little memory, one slow processor and flash that wears.
    ///
    /// # Errors
    /// There is no profile of that name.
    pub fn of(profile: &str) -> Result<Resources, String> {
        match profile {
            "" | "default" => Ok(Resources::default()),
            "edge" => Ok(Resources {
                worker_threads_max: 1,
                blocking_threads_max: 2,
                dns_sockets_max: 1,
                seen_bytes_max: 512 << 10,
                http_conns_per_client_max: 32,
                plugin_memory_bytes_max: 16 << 20,
                http_buffer_bytes_max: 8 << 10,
                log: Tuning { commit_pause: Duration::from_millis(10), cache_bytes: 512 << 10 },
            }),
            _ => Err(format!("profile: {profile:?} is none of: default, edge")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_takes_no_more_than_the_default_of_anything() {
        let (default, edge) = (Resources::default(), Resources::of("edge").unwrap());
        assert!(edge.worker_threads_max < default.worker_threads_max);
        assert!(edge.blocking_threads_max < default.blocking_threads_max);
        assert!(edge.dns_sockets_max < default.dns_sockets_max);
        assert!(edge.seen_bytes_max < default.seen_bytes_max);
        assert!(edge.http_conns_per_client_max < default.http_conns_per_client_max);
        assert!(edge.plugin_memory_bytes_max < default.plugin_memory_bytes_max);
        assert!(edge.http_buffer_bytes_max < default.http_buffer_bytes_max);
        assert!(edge.log.cache_bytes < default.log.cache_bytes);
    }

    #[test]
    fn a_profile_that_does_not_exist_is_named_with_those_that_do() {
        let error = Resources::of("tiny").unwrap_err();
        assert_eq!(error, r#"profile: "tiny" is none of: default, edge"#);
    }
}
