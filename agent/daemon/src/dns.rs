//! DNS over UDP and TCP: sockets and packets around `agent_core::dns`.
