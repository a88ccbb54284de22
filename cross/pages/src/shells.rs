//! Completions for bash, zsh and fish: the words of commands, and the flags of each.

use agent_daemon::cli::command::Command;
use agent_daemon::cli::help;

/// The words that may follow a group, or the program itself for an empty one.
fn below<'a>(commands: &'a [Command], group: &str) -> Vec<(&'a str, &'a str)> {
    let prefix = if group.is_empty() { String::new() } else { format!("{group} ") };
    commands
        .iter()
        .filter_map(|command| Some((command.name.strip_prefix(&prefix)?, command.synopsis)))
        .filter(|(word, _)| !word.contains(' '))
        .collect()
}

/// The program itself, then every command.
fn names(commands: &[Command]) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(commands.iter().map(|command| command.name))
}

/// What may follow a command, in one line: words below it, then its flags.
fn candidates(commands: &[Command], name: &str) -> String {
    let words = below(commands, name).into_iter().map(|(word, _)| word.to_owned());
    let command = commands.iter().find(|command| command.name == name);
    let flags = command.map(help::flags).unwrap_or_default();
    words.chain(flags.iter().map(|flag| format!("-{}", flag.name))).collect::<Vec<_>>().join(" ")
}

/// For bash, to be sourced or put where bash-completion looks.
pub fn bash(commands: &[Command]) -> String {
    let cases: String = names(commands)
        .map(|name| format!("        \"{name}\") words=\"{}\" ;;\n", candidates(commands, name)))
        .collect();
    format!(
        r#"# Completions of lictor for bash.
_lictor() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} name="" word words
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in
        -*) ;;
        *) name="${{name:+$name }}$word" ;;
        esac
    done
    # Arguments of a command are not part of its name.
    while :; do
        words=
        case $name in
{cases}        esac
        [ -n "$words" ] || [ -z "$name" ] && break
        case $name in
        *" "*) name=${{name% *}} ;;
        *) name= ;;
        esac
    done
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [ ${{#COMPREPLY[@]}} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$current")
}}
complete -F _lictor lictor consul
"#
    )
}

/// For zsh, to be put into a folder of `fpath`.
pub fn zsh(commands: &[Command]) -> String {
    let cases: String = names(commands)
        .map(|name| format!("    \"{name}\") candidates=({}) ;;\n", candidates(commands, name)))
        .collect();
    format!(
        r#"#compdef lictor consul
# Completions of lictor for zsh.
local name="" word
local -a candidates
for word in ${{words[2,CURRENT-1]}}; do
    [[ $word == -* ]] || name="${{name:+$name }}$word"
done
# Arguments of a command are not part of its name.
while true; do
    candidates=()
    case $name in
{cases}    esac
    (( $#candidates )) || [[ -z $name ]] && break
    [[ $name == *" "* ]] && name=${{name% *}} || name=""
done
compadd -- $candidates
_files
"#
    )
}

/// For fish, to be put into `completions` of its configuration.
pub fn fish(commands: &[Command]) -> String {
    let mut script = String::from(
        "# Completions of lictor for fish.\n\
         function __lictor_at\n    \
             set -l words (commandline -opc)[2..-1]\n    \
             test \"\"(string join ' ' (string match -v -- '-*' $words)) = \"$argv\"\n\
         end\n",
    );
    let mut line = |name: &str, what: &str, help: &str| {
        script.push_str(&format!(
            "complete -c lictor -n '__lictor_at {name}' {what} -d '{}'\n",
            help.replace('\\', "\\\\").replace('\'', "\\'")
        ));
    };
    for name in names(commands) {
        for (word, synopsis) in below(commands, name) {
            line(name, &format!("-f -a {word}"), synopsis);
        }
        let command = commands.iter().find(|command| command.name == name);
        for flag in command.map(help::flags).unwrap_or_default() {
            line(name, &format!("-o {}", flag.name), flag.help);
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use agent_daemon::cli::commands::COMMANDS;

    use super::*;

    #[test]
    fn bash_completes_commands_and_flags() {
        let script = bash(COMMANDS);
        for (typed, expected) in [
            ("lictor kv ge", "get"),
            ("lictor operator raft list", "list-peers"),
            ("lictor kv get -http-a", "-http-addr"),
            ("lictor kv get some/key -http-a", "-http-addr"),
            ("lictor age", "agent"),
        ] {
            let words = typed.split(' ').map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            let last = typed.split(' ').count() - 1;
            let told =
                format!("{script}\nCOMP_WORDS=({words}); COMP_CWORD={last}; _lictor; echo \"${{COMPREPLY[*]}}\"");
            let output = Process::new("bash").args(["-euc", &told]).output().expect("bash runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{typed}: {output:?}");
        }
    }

    #[test]
    fn every_command_is_known_to_every_shell() {
        let (zsh, fish) = (zsh(COMMANDS), fish(COMMANDS));
        for command in COMMANDS {
            assert!(zsh.contains(&format!("\"{}\") candidates", command.name)), "{}", command.name);
            let word = command.name.rsplit(' ').next().expect("a name");
            assert!(fish.contains(&format!("-f -a {word} ")), "{}", command.name);
        }
    }
}
