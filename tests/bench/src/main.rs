//! Measures lictor beside the real Consul and beside the least this machine could do.
//!
//! Runs the parts named on the command line: each in rounds, the agents in turns, every turn with a fresh process
//! and data folder. Prints a table for each part and the promises kept and broken at the end. Read README.md
//! beside this crate first; then `parts/`, one file for each part.

mod caller;
mod cluster;
mod crowd;
mod dns;
mod etcd;
mod histogram;
mod http;
mod limit;
mod load;
mod options;
mod parts;
mod process;
mod report;
mod subject;
mod targets;
mod wire;

use std::env;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::thread;

use tokio::time::Instant;

use crate::options::{Kind, Options, USAGE};
use crate::parts::{PARTS, Part};
use crate::report::{Figure, Report};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).peekable();
    let result = if arguments.next_if_eq("serve-limit").is_some() {
        serve_limit(arguments.next())
    } else {
        match Options::parse(arguments).and_then(chosen) {
            Ok((options, parts)) => measure(&options, &parts),
            Err(error) => {
                eprintln!("{error}\n{USAGE}");
                PARTS.iter().for_each(|part| eprintln!("  {:9} {}", part.name, part.about));
                return ExitCode::from(2);
            }
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// What the limit's own process does.
fn serve_limit(address: Option<String>) -> io::Result<bool> {
    let address: Option<Ipv4Addr> = address.and_then(|text| text.parse().ok());
    limit::serve(address.ok_or_else(|| io::Error::other("serve-limit needs an address"))?)?;
    Ok(true)
}

/// The parts asked for; without names all that end by themselves soon.
fn chosen(options: Options) -> Result<(Options, Vec<&'static Part>), String> {
    let find = |name: &String| PARTS.iter().find(|part| part.name == name).ok_or(format!("no part is called {name:?}"));
    let parts = if options.parts.is_empty() {
        PARTS.iter().filter(|part| !part.long).collect()
    } else {
        options.parts.iter().map(find).collect::<Result<_, _>>()?
    };
    Ok((options, parts))
}

fn measure(options: &Options, parts: &[&Part]) -> io::Result<bool> {
    process::raise_descriptors()?;
    let mut report = Report::default();
    let mut printed = 0;
    for part in parts {
        println!("\n## {}: {}", part.name, part.about);
        let begun = Instant::now();
        run(options, part, &mut report)?;
        printed = report.print_from(printed);
        println!("\n({} s)", begun.elapsed().as_secs());
    }
    Ok(targets::print(&report))
}

/// One part, in rounds; a turn that fails ends the run, since half a comparison is none.
fn run(options: &Options, part: &Part, report: &mut Report) -> io::Result<()> {
    let rounds = if part.long { 1 } else { options.rounds };
    let wanted = |kind: &&Kind| options.only.is_none_or(|only| only == **kind);
    let mut turns: Vec<Kind> = Vec::new();
    for _ in 0..rounds {
        turns.extend(part.kinds.iter().filter(wanted));
    }
    let turn = |kind| {
        let figures = (part.turn)(options, kind);
        figures.map_err(|error| io::Error::other(format!("{}, {kind:?}: {error}", part.name)))
    };
    let done: Vec<(Kind, io::Result<Vec<Figure>>)> = if part.together {
        thread::scope(|scope| {
            let turn = &turn;
            let running: Vec<_> = turns.into_iter().map(|kind| (kind, scope.spawn(move || turn(kind)))).collect();
            let join = |(kind, thread): (Kind, thread::ScopedJoinHandle<'_, _>)| {
                (kind, thread.join().unwrap_or_else(|_| Err(io::Error::other("a turn panicked"))))
            };
            running.into_iter().map(join).collect()
        })
    } else {
        turns.into_iter().map(|kind| (kind, turn(kind))).collect()
    };
    for (kind, figures) in done {
        figures?.into_iter().for_each(|figure| report.add(kind, figure));
    }
    Ok(())
}
