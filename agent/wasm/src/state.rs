//! What a run's store holds, and the linker that gives a component its imports: made once an engine, used by all runs.

use crate::bindings::{catalog, logging};
use crate::catalog::{Catalog, Read};
use crate::failure::Denials;
use crate::http::Http;
use crate::limits::Meter;
use crate::lines::Lines;
use crate::log::LogLevel;
use crate::lookup::Lookup;
use crate::sockets::{HasSockets, Opened, Sockets};
use crate::{Grants, READS_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, tcp_create_socket, udp_create_socket};
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What a run's store holds.
pub(crate) struct RunState {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) http: WasiHttpCtx,
    pub(crate) requests: Http,
    pub(crate) meter: Meter,
    pub(crate) denials: Arc<Denials>,
    pub(crate) opened: Arc<Opened>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) catalog: Option<Arc<dyn Catalog>>,
    pub(crate) reads: BTreeSet<Read>,
}

/// Links all of WASI 0.2 that there is for commands, outgoing HTTP, and our own interfaces. What a run may do with them is in its store.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<RunState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    tcp_create_socket::add_to_linker::<RunState, HasSockets>(&mut linker, RunState::sockets)?;
    udp_create_socket::add_to_linker::<RunState, HasSockets>(&mut linker, RunState::sockets)?;
    ip_name_lookup::add_to_linker::<RunState, HasSockets>(&mut linker, RunState::sockets)?;
    linker.allow_shadowing(false);
    logging::add_to_linker::<RunState, HasSelf<RunState>>(&mut linker, |state| state)?;
    catalog::add_to_linker::<RunState, HasSelf<RunState>>(&mut linker, |state| state)?;
    Ok(linker)
}

impl RunState {
    fn sockets(&mut self) -> Sockets<'_> {
        let RunState { wasi, table, denials, opened, grants, lookup, .. } = self;
        let wasi = WasiSocketsCtxView { ctx: wasi.sockets(), table };
        Sockets { wasi, opened, denials, grants, lookup }
    }

    /// Notes a read, unless there were too many.
    fn read(&mut self, read: Read) -> Result<Arc<dyn Catalog>, catalog::Failure> {
        if self.reads.len() >= READS_MAX && !self.reads.contains(&read) {
            return Err(catalog::Failure::Invalid(format!("a render may read at most {READS_MAX} different things")));
        }
        self.reads.insert(read);
        let none = || catalog::Failure::Denied("a health check reads no catalog".to_owned());
        self.catalog.clone().ok_or_else(none)
    }
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for RunState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }
}

impl logging::Host for RunState {
    fn log(&mut self, level: logging::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            logging::Level::Trace => LogLevel::Trace,
            logging::Level::Debug => LogLevel::Debug,
            logging::Level::Info => LogLevel::Info,
            logging::Level::Warn => LogLevel::Warn,
            logging::Level::Error => LogLevel::Error,
        };
        self.lines.write(level, &message);
        Ok(())
    }
}

type Answered<T> = wasmtime::Result<Result<T, catalog::Failure>>;

impl catalog::Host for RunState {
    async fn instances(
        &mut self,
        service: String,
        tag: String,
        passing: bool,
        datacenter: String,
    ) -> Answered<Vec<catalog::Instance>> {
        let read =
            Read::Instances { service: service.clone(), tag: tag.clone(), passing, datacenter: datacenter.clone() };
        match self.read(read) {
            Ok(from) => Ok(from.instances(&service, &tag, passing, &datacenter).await),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn services(&mut self, datacenter: String) -> Answered<Vec<(String, Vec<String>)>> {
        match self.read(Read::Services { datacenter: datacenter.clone() }) {
            Ok(from) => Ok(from.services(&datacenter).await),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn nodes(&mut self, datacenter: String) -> Answered<Vec<catalog::Node>> {
        match self.read(Read::Nodes { datacenter: datacenter.clone() }) {
            Ok(from) => Ok(from.nodes(&datacenter).await),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn key(&mut self, path: String, datacenter: String) -> Answered<Option<catalog::Entry>> {
        match self.read(Read::Key { path: path.clone(), datacenter: datacenter.clone() }) {
            Ok(from) => Ok(from.key(&path, &datacenter).await),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn tree(&mut self, prefix: String, datacenter: String) -> Answered<Vec<catalog::Entry>> {
        match self.read(Read::Tree { prefix: prefix.clone(), datacenter: datacenter.clone() }) {
            Ok(from) => Ok(from.tree(&prefix, &datacenter).await),
            Err(failure) => Ok(Err(failure)),
        }
    }
}
