//! Manual pages in roff, by the conventions of `man-pages(7)`.

use agent_daemon::cli::command::Command;
use agent_daemon::cli::help;
use agent_daemon::goflag::{FlagSpec, Takes};

/// The page of one command.
pub fn page(command: &Command, date: &str) -> String {
    let name = format!("lictor-{}", command.name.replace(' ', "-"));
    let mut page = head(&name, date);
    page.push_str(&format!(".SH NAME\n{} \\- {}\n", escaped(&name), text(command.synopsis)));
    page.push_str(&format!(".SH SYNOPSIS\n.B lictor {}\n{}\n", escaped(command.name), text(command.arguments)));
    page.push_str(&format!(".SH DESCRIPTION\n{}", paragraphs(command.about)));
    let flags = help::flags(command);
    if !flags.is_empty() {
        page.push_str(".SH OPTIONS\n");
        flags.iter().for_each(|flag| page.push_str(&option(flag)));
    }
    if !command.examples.is_empty() {
        page.push_str(".SH EXAMPLES\n.nf\n");
        command.examples.iter().for_each(|line| page.push_str(&format!("lictor {}\n", escaped(line))));
        page.push_str(".fi\n");
    }
    page.push_str(".SH SEE ALSO\n.BR lictor (1)\n");
    page
}

/// The page that lists all of them.
pub fn overview(commands: &[Command], date: &str) -> String {
    let mut page = head("lictor", date);
    page.push_str(".SH NAME\nlictor \\- a small agent for service discovery, health checks and key/value data\n");
    page.push_str(".SH SYNOPSIS\n.B lictor\n[\\-\\-version] [\\-\\-help] <command> [<args>]\n.SH COMMANDS\n");
    for command in commands {
        let name = format!("lictor\\-{}", escaped(&command.name.replace(' ', "-")));
        page.push_str(&format!(".TP\n.BR {name} (1)\n{}\n", text(command.synopsis)));
    }
    page
}

fn head(name: &str, date: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {} 1 \"{date}\" \"lictor {version}\" \"lictor\"\n", escaped(&name.to_uppercase()))
}

fn option(flag: &FlagSpec) -> String {
    let value = match flag.takes {
        Takes::Bool => String::new(),
        _ => format!("=\\fI{}\\fR", escaped(flag.value_name)),
    };
    format!(".TP\n\\fB\\-{}\\fR{value}\n{}\n", escaped(flag.name), text(flag.help))
}

/// Paragraphs, whose lines are filled anew.
fn paragraphs(about: &str) -> String {
    about.split("\n\n").map(|paragraph| format!(".PP\n{}\n", text(paragraph))).collect()
}

/// Text at the start of a line, where a dot or a quote would begin a request.
fn text(words: &str) -> String {
    words
        .lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{}", escaped(line)) } else { escaped(line) })
        .collect::<Vec<_>>()
        .join("\n")
}

fn escaped(words: &str) -> String {
    words.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use agent_daemon::cli::commands::COMMANDS;

    use super::*;

    #[test]
    fn a_page_says_what_the_help_says() {
        let get = COMMANDS.iter().find(|command| command.name == "kv get").expect("there is `kv get`");
        let page = page(get, "2026-11-21");
        assert!(page.starts_with(".TH LICTOR\\-KV\\-GET 1 \"2026-11-21\""), "{page}");
        assert!(page.contains("\\fB\\-http\\-addr\\fR=\\fIaddress\\fR"), "{page}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
        }
    }

    #[test]
    fn no_text_is_taken_for_a_request() {
        assert_eq!(text(".hidden -x\nC:\\dir\n'quoted'"), "\\&.hidden \\-x\nC:\\edir\n\\&'quoted'");
    }
}
