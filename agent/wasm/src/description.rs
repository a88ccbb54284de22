//! What a plugin says of itself, held against the rules of `wit/about.wit`.

use crate::LoadError;
use crate::bindings::exports::lictor::plugin::about;
use crate::bindings::health_check::exports::lictor::plugin::about as check_about;
use agent_core::plugin::Schema;

/// Characters of a summary, and of one wish.
const SUMMARY_MAX: usize = 1024;
const WISHES_MAX: usize = 64;

/// What a plugin says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// 1 to 64 characters of `a-z`, `0-9` and `-`.
    pub name: String,
    /// As semver.org has it.
    pub version: String,
    /// A sentence.
    pub summary: String,
    /// The schema, for checking configs.
    pub schema: Schema,
    /// What it would like to be granted.
    pub wants: Wants,
}

/// What a plugin would like to be granted, for a person to read. At most 64 lines a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// As `allow.network` writes them, or words.
    pub network: Vec<String>,
    /// URLs.
    pub urls: Vec<String>,
    /// Directories.
    pub directories: Vec<String>,
    /// Variables.
    pub environment: Vec<String>,
}

/// What a plugin said, before it is checked. Both worlds have the interface, each with types of its own.
pub(crate) struct Said {
    name: String,
    version: String,
    summary: String,
    config_schema: String,
    wants: Wants,
}

impl From<about::Description> for Said {
    fn from(said: about::Description) -> Said {
        let about::Description { name, version, summary, config_schema, wants } = said;
        let about::Wants { network, urls, directories, environment } = wants;
        Said { name, version, summary, config_schema, wants: Wants { network, urls, directories, environment } }
    }
}

impl From<check_about::Description> for Said {
    fn from(said: check_about::Description) -> Said {
        let check_about::Description { name, version, summary, config_schema, wants } = said;
        let check_about::Wants { network, urls, directories, environment } = wants;
        Said { name, version, summary, config_schema, wants: Wants { network, urls, directories, environment } }
    }
}

pub(crate) fn checked(said: Said) -> Result<Description, LoadError> {
    let Said { name, version, summary, config_schema, wants } = said;
    let bad = |field, why: String| Err(LoadError::BadDescription { field, why });
    if !(1..=64).contains(&name.len()) || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return bad("name", format!("must be 1 to 64 characters of a-z, 0-9 and -, not {:?}", clipped(&name)));
    }
    if !is_semver(&version) {
        return bad("version", format!("must have the form of semver.org, such as 1.2.3, not {:?}", clipped(&version)));
    }
    if !is_line(&summary) {
        return bad(
            "summary",
            format!("must be a line of at most {SUMMARY_MAX} characters, none of them a control character"),
        );
    }
    let schema = match Schema::parse(&config_schema) {
        Ok(schema) => schema,
        Err(error) => return bad("config-schema", format!("is not usable: {error}")),
    };
    let Wants { network, urls, directories, environment } = &wants;
    for wishes in [network, urls, directories, environment] {
        if wishes.len() > WISHES_MAX || !wishes.iter().all(|wish| is_line(wish)) {
            return bad(
                "wants",
                format!(
                    "must have at most {WISHES_MAX} lines of {SUMMARY_MAX} characters for each kind, without control characters"
                ),
            );
        }
    }
    Ok(Description { name, version, summary, schema, wants })
}

/// People read it in a terminal.
fn is_line(text: &str) -> bool {
    text.chars().count() <= SUMMARY_MAX && !text.contains(char::is_control)
}

fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The grammar of semver.org, 2.0.0: three numbers without leading zeros, then `-` and `+` parts of dotted words.
fn is_semver(text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let number = |n: &str| {
        !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n.len() == 1 || !n.starts_with('0')) && n.len() < 20
    };
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let all_digits = |w: &str| w.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 128
        && core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|w| word(w) && (!all_digits(w) || number(w))))
        && build.is_none_or(|build| build.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use super::is_semver;

    #[test]
    fn versions_follow_semver() {
        for good in ["0.0.0", "1.2.3", "1.2.3-rc.1", "1.2.3-0a+build.007", "10.20.30+x"] {
            assert!(is_semver(good), "{good}");
        }
        for bad in ["", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "v1.2.3", "1.2.3 ", "1.2.3.4"] {
            assert!(!is_semver(bad), "{bad}");
        }
    }
}
