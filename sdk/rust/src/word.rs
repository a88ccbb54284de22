//! What is registered, as words of a configuration file. Whoever registers a service is not trusted to use one: another
//! character would end the word, the line or the block, and begin what nobody wrote.

use std::net::Ipv6Addr;

/// A name of letters, digits, `-`, `_` and `.`; any other character is a `_`.
pub fn word(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    name.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}

/// An address and a port as `host:port`, with IPv6 in brackets.
pub fn host_and_port(address: &str, port: u16) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{}:{port}", word(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_end_itself() {
        assert_eq!(word("a; } evil\nb"), "a____evil_b");
        assert_eq!(host_and_port("10.0.0.1;", 80), "10.0.0.1_:80");
        assert_eq!(host_and_port("2001:db8::1", 80), "[2001:db8::1]:80");
    }
}
