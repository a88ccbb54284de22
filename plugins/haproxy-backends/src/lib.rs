//! A renderer that writes an HAProxy `backend` section for each service named in its config.

use lictor_plugin::{File, Rendering, Result, catalog, host_and_port, word};
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    datacenter: String,
    backend: Option<String>,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    server_options: String,
}

lictor_plugin::renderer! {
    summary: "Writes HAProxy backends of services.",
    schema: include_str!("../config.schema.json"),
    render: render,
}

fn render(config: Config, _: Rendering) -> Result<Vec<File>> {
    let mut text = String::from("# Written by lictor.\n");
    for service in &config.services {
        let instances = catalog::instances(&service.name, &service.tag, true, &service.datacenter)?;
        text.push_str(&backend(service, &instances));
    }
    Ok(vec![File::destination(text)])
}

/// One section. Without servers HAProxy answers 503, which is what is true.
fn backend(service: &Service, instances: &[catalog::Instance]) -> String {
    let mut text = format!("\nbackend {}\n", word(service.backend.as_ref().unwrap_or(&service.name)));
    for option in &service.options {
        text.push_str(&format!("    {option}\n"));
    }
    for instance in instances {
        let (weight, _) = instance.weights;
        let name = format!("{}-{}", word(&instance.node.name), word(&instance.id));
        let line = format!(
            "    server {name} {} weight {}",
            host_and_port(&instance.address, instance.port),
            weight.clamp(1, 256)
        );
        text.push_str(format!("{line} {}", service.server_options).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_end_a_line() {
        let service = Service {
            name: "web\nlisten evil".into(),
            tag: String::new(),
            datacenter: String::new(),
            backend: None,
            options: Vec::new(),
            server_options: String::new(),
        };
        assert_eq!(backend(&service, &[]), "\nbackend web_listen_evil\n");
    }
}
