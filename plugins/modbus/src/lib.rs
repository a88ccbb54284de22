//! A check that reads one value from the registers of a Modbus TCP device and holds it against limits.
//! Framing and function codes are those of the Modbus Application Protocol V1.1b3 and Modbus Messaging on TCP/IP V1.0b.

use std::io::Write;
use std::time::Duration;

use lictor_plugin::{Outcome, Result, Thresholds, bail, tcp};
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    address: String,
    #[serde(default = "one")]
    unit: u8,
    #[serde(default)]
    table: Table,
    register: u16,
    #[serde(default)]
    r#type: Type,
    #[serde(default)]
    words: Words,
    #[serde(default = "unscaled")]
    scale: f64,
    name: Option<String>,
    #[serde(flatten)]
    thresholds: Thresholds,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Table {
    #[default]
    Holding,
    Input,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    #[default]
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

/// Which of several registers holds the most significant word.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Words {
    #[default]
    Big,
    Little,
}

fn one() -> u8 {
    1
}

fn unscaled() -> f64 {
    1.0
}

lictor_plugin::check! {
    summary: "Reads registers over Modbus TCP and compares their value.",
    schema: include_str!("../config.schema.json"),
    wants: { network: ["the device's address and port, usually 502"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let stream = tcp::connect(&config.address, Duration::from_secs(5))?;
    let mut device = tcp::Bounded::new(stream, 512);
    let count = registers(config.r#type);
    device.write_all(&request(config.unit, config.table, config.register, count))?;
    let header = device.exactly(7)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[..4] != [0, 1, 0, 0] || !(3..=254).contains(&length) {
        bail!("what the device sent is not Modbus TCP");
    }
    let bytes = read_reply(config.table, count, &device.exactly(length - 1)?)?;
    let value = decode(config.r#type, config.words, &bytes) * config.scale;
    let what = config.name.clone().unwrap_or_else(|| format!("register {}", config.register));
    Ok(config.thresholds.outcome(&what, value).gauge("value", value))
}

fn registers(r#type: Type) -> u16 {
    match r#type {
        Type::U16 | Type::I16 => 1,
        Type::U32 | Type::I32 | Type::F32 => 2,
        Type::F64 => 4,
    }
}

fn function(table: Table) -> u8 {
    match table {
        Table::Holding => 3,
        Table::Input => 4,
    }
}

fn request(unit: u8, table: Table, register: u16, count: u16) -> Vec<u8> {
    let mut frame = vec![0, 1, 0, 0, 0, 6, unit, function(table)];
    frame.extend(register.to_be_bytes());
    frame.extend(count.to_be_bytes());
    frame
}

/// The registers' bytes, of a reply after its header.
fn read_reply(table: Table, count: u16, reply: &[u8]) -> Result<Vec<u8>> {
    match reply {
        [code, exception, ..] if *code == function(table) | 0x80 => {
            bail!("the device refused: {}", exception_name(*exception))
        }
        [code, size, bytes @ ..]
            if *code == function(table)
                && bytes.len() == usize::from(count) * 2
                && usize::from(*size) == bytes.len() =>
        {
            Ok(bytes.to_vec())
        }
        _ => bail!("the device's reply does not fit the request"),
    }
}

fn exception_name(code: u8) -> String {
    match code {
        1 => "it does not know this function".into(),
        2 => "it has no such register".into(),
        3 => "it does not take this count of registers".into(),
        4 => "it failed".into(),
        6 => "it is busy".into(),
        10 | 11 => "the device behind the gateway does not answer".into(),
        other => format!("exception {other}"),
    }
}

fn decode(r#type: Type, words: Words, bytes: &[u8]) -> f64 {
    let ordered: Vec<[u8; 2]> = bytes.chunks_exact(2).map(|word| [word[0], word[1]]).collect();
    let big = |word: u64, next: &[u8; 2]| word << 16 | u64::from(u16::from_be_bytes(*next));
    let bits = match words {
        Words::Big => ordered.iter().fold(0, big),
        Words::Little => ordered.iter().rev().fold(0, big),
    };
    match r#type {
        Type::U16 | Type::U32 => bits as f64,
        Type::I16 => f64::from(bits as u16 as i16),
        Type::I32 => f64::from(bits as u32 as i32),
        Type::F32 => f64::from(f32::from_bits(bits as u32)),
        Type::F64 => f64::from_bits(bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers() {
        let cases: [(Type, Words, &[u8], f64); 6] = [
            (Type::U16, Words::Big, &[1, 2], 258.0),
            (Type::I16, Words::Big, &[0xff, 0xfe], -2.0),
            (Type::U32, Words::Big, &[0, 1, 0, 0], 65536.0),
            (Type::U32, Words::Little, &[0, 1, 0, 0], 1.0),
            (Type::F32, Words::Little, &[0, 0, 0x41, 0x48], 12.5),
            (Type::F64, Words::Big, &[0x40, 0x29, 0, 0, 0, 0, 0, 0], 12.5),
        ];
        for (r#type, words, bytes, expected) in cases {
            assert_eq!(decode(r#type, words, bytes), expected, "{type:?} {words:?}");
        }
    }

    #[test]
    fn replies_that_do_not_fit_are_refused() {
        assert_eq!(read_reply(Table::Holding, 1, &[3, 2, 0, 7]).expect("registers"), [0, 7]);
        let refused = read_reply(Table::Holding, 1, &[0x83, 2]).expect_err("an exception").to_string();
        assert_eq!(refused, "the device refused: it has no such register");
        for reply in [&[][..], &[3], &[3, 4, 0, 7], &[4, 2, 0, 7], &[3, 2, 0]] {
            assert!(read_reply(Table::Holding, 1, reply).is_err(), "{reply:?}");
        }
    }
}
