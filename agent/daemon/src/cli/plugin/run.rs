//! `plugin run`: a plugin tried here and now, without an agent, as an agent would run it.
//!
//! A check exits as scripts do: 0 passing, 1 warning, 2 critical. A renderer's
//! files are written below a folder, or shown; what it reads comes from the
//! agent at `-http-addr`.

use std::path::Path;
use std::sync::Arc;

use agent_core::state::tables::Status;
use agent_wasm::{COMPILED_BYTES_MAX, MetricKind, Plugin, Ran, RenderRequest, Usage, World};
use serde_json::{Map, Value};

use super::super::client::{Client, go_io_error};
use super::super::command::{Failure, Invocation};
use super::only_word;
use super::read_api::AgentCatalog;
use crate::goflag::FlagSpec;
use crate::plugin::settings::{self, PluginSettings};

/// Its flags.
pub const FLAGS: &[FlagSpec] = &[
    FlagSpec::value(
        "config",
        "json",
        "What the plugin is told: a JSON object, or @FILE to read it from. (default \"{}\")",
    ),
    FlagSpec::value("allow-network", "address", "Grants addresses and ports, such as 10.0.0.0/8:6379.").repeated(),
    FlagSpec::value("allow-url", "url", "Grants a URL and what is below it.").repeated(),
    FlagSpec::value("allow-directory", "path", "Grants reading a directory.").repeated(),
    FlagSpec::value("allow-environment", "name", "Grants an environment variable.").repeated(),
    FlagSpec::value("memory", "size", "The limit of memory, such as 32MiB. (default \"16MiB\")"),
    FlagSpec::value("cpu", "duration", "The limit of CPU time. (default \"100ms\")"),
    FlagSpec::value("wall", "duration", "The limit of time. (default \"10s\")"),
    FlagSpec::value("template", "file", "For renderers: the template."),
    FlagSpec::value("out", "folder", "For renderers: where to write the files. The default is to show them."),
];

/// The largest config and the largest template, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// `plugin run`.
pub fn run(call: &mut Invocation) -> Result<(), Failure> {
    let path = only_word(call, "FILE")?;
    let settings = settings(call)?;
    let config = config(call)?;
    let component = super::read(&path, COMPILED_BYTES_MAX)?;
    let client = Arc::new(call.client()?);
    let plugin = client.wait_for(super::load(component)).map_err(|reason| Failure::new(format!("{path}: {reason}")))?;
    let judged = serde_json::from_str(&config)
        .map_err(|error| vec![format!("it is not JSON: {error}")])
        .and_then(|value| plugin.description().schema.check(&value));
    judged.map_err(|mistakes| Failure::new(format!("-config: {}", mistakes.join("\n         "))))?;
    match plugin.world() {
        World::HealthCheck => check(call, &client, &plugin, &settings, &config),
        World::TemplateRenderer => render(call, &client, &plugin, &settings, config),
    }
}

fn check(
    call: &mut Invocation,
    client: &Client,
    plugin: &Plugin,
    settings: &PluginSettings,
    config: &str,
) -> Result<(), Failure> {
    wishes(call, plugin, settings);
    let ran = client.wait_for(plugin.check(&settings.grants, &settings.limits, "run", config));
    remarks(call, &ran);
    let found = ran.result.map_err(|failure| Failure { message: failure.to_string(), code: 2 })?;
    call.line(found.status.as_str());
    if !found.output.is_empty() {
        call.line(&found.output);
    }
    for metric in found.metrics {
        let kind = match metric.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        let labels: String = metric.labels.iter().map(|(label, value)| format!(" {label}={value:?}")).collect();
        call.line(&format!("{kind} {} {}{labels}", metric.name, metric.value));
    }
    match found.status {
        Status::Passing => Ok(()),
        Status::Warning => Err(Failure { message: String::new(), code: 1 }),
        Status::Critical => Err(Failure { message: String::new(), code: 2 }),
    }
}

fn render(
    call: &mut Invocation,
    client: &Arc<Client>,
    plugin: &Plugin,
    settings: &PluginSettings,
    config: String,
) -> Result<(), Failure> {
    let template = match call.flags.last("template") {
        Some(path) => String::from_utf8(super::read(path, TEXT_BYTES_MAX)?)
            .map_err(|_| Failure::new(format!("{path} is not UTF-8")))?,
        None => String::new(),
    };
    wishes(call, plugin, settings);
    let ran = client.wait_for(async {
        let (node, datacenter) = AgentCatalog::identity(client).await;
        let request = RenderRequest { config, template, node, datacenter };
        let catalog = Arc::new(AgentCatalog::new(Arc::clone(client)));
        plugin.render(&settings.grants, &settings.limits, "run", request, catalog).await
    });
    remarks(call, &ran);
    for read in &ran.reads {
        call.remark(&format!("read {read:?}"));
    }
    let files = ran.result.map_err(|failure| Failure::new(failure.to_string()))?;
    let out = call.flags.last("out").map(str::to_owned);
    for file in files {
        match &out {
            Some(folder) => write(Path::new(folder), &file.path, &file.content)?,
            None => {
                if !file.path.is_empty() {
                    call.line(&format!("==> {}", file.path));
                }
                call.line(&String::from_utf8_lossy(&file.content));
            }
        }
    }
    Ok(())
}

/// Writes a file below `folder`; one without a path is called `out`.
fn write(folder: &Path, path: &str, content: &[u8]) -> Result<(), Failure> {
    let file = folder.join(if path.is_empty() { "out" } else { path });
    let parent = file.parent().unwrap_or(folder);
    let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&file, content));
    written.map_err(|error| Failure::new(format!("could not write {}: {}", file.display(), go_io_error(&error))))
}

/// What the plugin would like to be granted, where nothing of the kind is, on standard error.
fn wishes(call: &mut Invocation, plugin: &Plugin, settings: &PluginSettings) {
    let (wants, grants) = (&plugin.description().wants, &settings.grants);
    let kinds = [
        ("network", &wants.network, grants.network.is_empty()),
        ("url", &wants.urls, grants.urls.is_empty()),
        ("directory", &wants.directories, grants.directories.is_empty()),
        ("environment", &wants.environment, grants.environment.is_empty()),
    ];
    for (kind, wished, _) in kinds.iter().filter(|(_, wished, nothing)| *nothing && !wished.is_empty()) {
        call.remark(&format!("The plugin would like -allow-{kind}: {}", wished.join(", ")));
    }
}

/// What a run cost and what it was denied, on standard error.
fn remarks<T>(call: &mut Invocation, ran: &Ran<T>) {
    let Usage { cpu, wall, memory_bytes_peak, .. } = ran.usage;
    let (cpu, wall) = (cpu.as_secs_f64() * 1e3, wall.as_secs_f64() * 1e3);
    call.remark(&format!("took {cpu:.1} ms of CPU in {wall:.1} ms, {} KiB of memory", memory_bytes_peak >> 10));
    for denied in &ran.denied {
        call.remark(&format!("The plugin {denied}"));
    }
}

/// The grants and limits that the flags say, read as a `plugin` block would be.
fn settings(call: &Invocation) -> Result<PluginSettings, Failure> {
    let list = |flag: &str| Value::from(call.flags.all(flag).iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let allow = [
        ("network", list("allow-network")),
        ("urls", list("allow-url")),
        ("directories", list("allow-directory")),
        ("environment", list("allow-environment")),
    ];
    let limits = ["memory", "cpu", "wall"].into_iter().filter_map(|flag| Some((flag, call.flags.last(flag)?.into())));
    let object = |fields: Vec<(&str, Value)>| {
        Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    };
    let block = object(vec![("allow", object(allow.into())), ("limits", object(limits.collect()))]);
    settings::settings(&block).map_err(Failure::new)
}

fn config(call: &Invocation) -> Result<String, Failure> {
    match call.flags.last("config") {
        None => Ok("{}".to_owned()),
        Some(text) => match text.strip_prefix('@') {
            None => Ok(text.to_owned()),
            Some(path) => String::from_utf8(super::read(path, TEXT_BYTES_MAX)?)
                .map_err(|_| Failure::new(format!("{path} is not UTF-8"))),
        },
    }
}
