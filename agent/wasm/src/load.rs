//! From a component's bytes to a template that runs are made of: what it is, which world, whether its versions fit, what it says of itself.

use crate::bindings::{TemplateRendererPre, health_check::HealthCheckPre};
use crate::description::{self, Description, Said};
use crate::error::LoadError;
use crate::host::{Host, Shared};
use crate::run::{Run, Start};
use crate::state::RunState;
use crate::{Grants, Limits};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

/// The largest component, in bytes: CPython with a check is some 40 MB.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// The largest component compiled ahead, in bytes.
pub const COMPILED_BYTES_MAX: u64 = 256 << 20;

/// The version of the interfaces here.
const OURS: &str = "1.0.0";
const PACKAGE: &str = "lictor:plugin/";
/// The packages of WASI that are linked, in any release of 0.2.
const WASI: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// What a run instantiates: imports linked and types checked, once.
pub(crate) enum Template {
    Check(HealthCheckPre<RunState>),
    Renderer(TemplateRendererPre<RunState>),
}

/// The first look: whether it can be a component at all.
pub(crate) fn is_component(bytes: &[u8]) -> Result<(), LoadError> {
    let not = |what: &str| Err(LoadError::NotAComponent(what.to_owned()));
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge(COMPONENT_BYTES_MAX));
    }
    if Host::is_compiled(bytes) {
        return Err(LoadError::CompiledAhead);
    }
    match bytes {
        [] => not("the file is empty"),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => not(
            "it is a plain WebAssembly module; build it for wasm32-wasip2, or make it a component with `wasm-tools component new`",
        ),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => not("it has the header of an unknown version of WebAssembly, or is cut off"),
        _ => not("it does not begin as WebAssembly does"),
    }
}

/// Which world a component is for, with all its versions checked, linked.
pub(crate) fn template(
    engine: &Engine,
    linker: &Linker<RunState>,
    component: &Component,
) -> Result<Template, LoadError> {
    let ty = component.component_type();
    let exports: Vec<String> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    for name in exports.iter().chain(&imports) {
        is_not_newer(name)?;
    }
    let has = |interface: &str| {
        exports.iter().any(|name| name.strip_prefix(PACKAGE).and_then(|n| n.split('@').next()) == Some(interface))
    };
    let renders = match (has("about"), has("check"), has("renderer")) {
        (true, true, false) => false,
        (true, false, true) => true,
        _ => return Err(LoadError::WrongWorld(exports)),
    };
    if let Some(missing) = imports.iter().find(|name| !is_offered(name, renders)) {
        return Err(LoadError::MissingImport(missing.clone()));
    }
    let wrong = |error: wasmtime::Error| LoadError::WrongType(format!("{error:#}"));
    let pre = linker.instantiate_pre(component).map_err(|error| missing_or(&error, wrong))?;
    match renders {
        false => HealthCheckPre::new(pre).map(Template::Check).map_err(wrong),
        true => TemplateRendererPre::new(pre).map(Template::Renderer).map_err(wrong),
    }
}

/// An interface of ours must be of this major version and not of a newer minor one: `wit/README.md`.
fn is_not_newer(name: &str) -> Result<(), LoadError> {
    let Some((_, version)) = name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) else { return Ok(()) };
    let parts = |version: &str| -> Option<(u64, u64)> {
        let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    };
    let fits = match (parts(version), parts(OURS)) {
        (Some((major, minor)), Some((our_major, our_minor))) => major == our_major && minor <= our_minor,
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(LoadError::NewerInterface { asked: name.to_owned(), ours: format!("lictor:plugin@{OURS}") }),
    }
}

fn is_offered(name: &str, renders: bool) -> bool {
    match name.strip_prefix(PACKAGE).map(|rest| rest.split('@').next().unwrap_or(rest)) {
        Some("logging") => true,
        Some("catalog") => renders,
        // What an interface of ours `use`s of another appears as an import; types alone ask nothing of the host.
        Some("about" | "check" | "renderer") => true,
        Some(_) => false,
        None => WASI.iter().any(|package| name.starts_with(package)) && name.contains("@0.2."),
    }
}

/// The linker names what it did not find between backticks.
fn missing_or(error: &wasmtime::Error, otherwise: impl Fn(wasmtime::Error) -> LoadError) -> LoadError {
    let text = format!("{error:#}");
    let named = text.split('`').nth(1).filter(|_| text.contains("was not found in the linker"));
    match named {
        Some(name) => LoadError::MissingImport(name.to_owned()),
        None => otherwise(wasmtime::Error::msg(text)),
    }
}

/// Asks a plugin to describe itself, with nothing granted.
pub(crate) async fn describe(
    shared: &Arc<Shared>,
    engine: &Engine,
    template: &Template,
) -> Result<Description, LoadError> {
    let limits = Limits {
        memory_bytes: 128 << 20,
        cpu: Duration::from_secs(5),
        wall: Duration::from_secs(20),
        sockets: 0,
        ..Limits::default()
    };
    let start = Start {
        shared,
        engine,
        plugin: "-".into(),
        subject: "",
        grants: &Grants::default(),
        limits: &limits,
        catalog: None,
    };
    let mut run = Run::prepare(start).await.map_err(LoadError::Describe)?;
    let clock = run.clock.clone();
    let ended = clock
        .bound(&shared.ticker, limits.wall, async {
            match template {
                Template::Check(pre) => {
                    let instance = pre.instantiate_async(&mut run.store).await?;
                    instance.lictor_plugin_about().call_describe(&mut run.store).await.map(Said::from)
                }
                Template::Renderer(pre) => {
                    let instance = pre.instantiate_async(&mut run.store).await?;
                    instance.lictor_plugin_about().call_describe(&mut run.store).await.map(Said::from)
                }
            }
        })
        .await;
    let said = run.finish(ended).result.map_err(LoadError::Describe)?;
    description::checked(said)
}
