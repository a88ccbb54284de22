//! What guests hand back, held against the rules of `wit/`: cut, left out or refused.

use crate::bindings::exports::lictor::plugin::renderer;
use crate::bindings::health_check::exports::lictor::plugin::check;
use crate::failure::bytes;
use crate::{CheckOutcome, Failure, FailureKind, File, Limits, Metric, MetricKind, Ran, Status};

/// Values of a check.
const METRICS_MAX: usize = 32;
/// Labels of a value.
const LABELS_MAX: usize = 8;
/// Bytes of a label and of its value.
const LABEL_BYTES_MAX: usize = 128;
/// Files of a render.
const FILES_MAX: usize = 1024;
/// Bytes of a file's path.
const PATH_BYTES_MAX: usize = 1024;
/// Bytes of a renderer's error.
const ERROR_BYTES_MAX: usize = 4 << 10;

impl<T> Ran<Result<T, Failure>> {
    /// The same run with another result, unless it failed. A failure made here gets what the run was denied.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> Result<U, FailureKind>) -> Ran<Result<U, Failure>> {
        let Ran { result, usage, reads, denied } = self;
        let result = result.and_then(|value| f(value).map_err(|kind| Failure { kind, denied: denied.clone() }));
        Ran { result, usage, reads, denied }
    }
}

pub(crate) fn outcome(outcome: check::Outcome, limits: &Limits) -> CheckOutcome {
    let check::Outcome { status, mut output, metrics } = outcome;
    let max = usize::try_from(limits.output_bytes).unwrap_or(usize::MAX);
    output.truncate(output.floor_char_boundary(max));
    output.shrink_to_fit();
    let status = match status {
        check::Status::Passing => Status::Passing,
        check::Status::Warning => Status::Warning,
        check::Status::Critical => Status::Critical,
    };
    CheckOutcome { status, output, metrics: metrics.into_iter().take(METRICS_MAX).filter_map(metric).collect() }
}

fn metric(metric: check::Metric) -> Option<Metric> {
    let check::Metric { name, kind, value, labels } = metric;
    let kind = match kind {
        check::Kind::Gauge => MetricKind::Gauge,
        check::Kind::Counter => MetricKind::Counter,
    };
    let is_counted_down = kind == MetricKind::Counter && value < 0.0;
    let labels_fit = labels.len() <= LABELS_MAX
        && labels.iter().all(|(label, value)| is_name(label, LABEL_BYTES_MAX) && value.len() <= LABEL_BYTES_MAX);
    (is_name(&name, 64) && value.is_finite() && !is_counted_down && labels_fit).then_some(Metric {
        name,
        kind,
        value,
        labels,
    })
}

fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

pub(crate) fn files(rendered: Result<Vec<renderer::File>, String>, limits: &Limits) -> Result<Vec<File>, FailureKind> {
    let files = rendered.map_err(|mut text| {
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        FailureKind::Renderer(text)
    })?;
    let broken = |why: String| Err(FailureKind::BrokenPromise(why));
    if files.len() > FILES_MAX {
        return broken(format!("it made {} files, and {FILES_MAX} are allowed", files.len()));
    }
    let size: u64 = files.iter().map(|file| (file.path.len() + file.content.len()) as u64).sum();
    if size > limits.files_bytes {
        return broken(format!(
            "its files have {}, and {} are allowed; raise limits.files",
            bytes(size),
            bytes(limits.files_bytes)
        ));
    }
    let mut paths = std::collections::BTreeSet::new();
    for renderer::File { path, .. } in &files {
        if !is_plain_path(path) {
            return broken(format!(
                "it made a file with the path {:?}; a path is relative, without .. or .",
                crate::lines::clean(path)
            ));
        }
        if !paths.insert(path) {
            return broken(format!("it made the file {path:?} twice"));
        }
    }
    Ok(files.into_iter().map(|renderer::File { path, content }| File { path, content }).collect())
}

fn is_plain_path(path: &str) -> bool {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    path.is_empty() || (path.len() <= PATH_BYTES_MAX && path.split('/').all(plain) && !path.contains(['\0', '\\']))
}
