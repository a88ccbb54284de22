//! DNS: names to questions, questions to answers. No sockets, no packets.
