//! A renderer that writes an nginx `upstream` block for each service named in its config.

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
    upstream: Option<String>,
    #[serde(default)]
    options: Vec<String>,
}

lictor_plugin::renderer! {
    summary: "Writes nginx upstream blocks of services.",
    schema: include_str!("../config.schema.json"),
    render: render,
}

fn render(config: Config, _: Rendering) -> Result<Vec<File>> {
    let mut text = String::from("# Written by lictor.\n");
    for service in &config.services {
        let instances = catalog::instances(&service.name, &service.tag, true, &service.datacenter)?;
        text.push_str(&upstream(service, &instances));
    }
    Ok(vec![File::destination(text)])
}

/// One block. nginx refuses an empty one, so that a service without instances is a server that is always down, which answers 502.
fn upstream(service: &Service, instances: &[catalog::Instance]) -> String {
    let mut text = format!("\nupstream {} {{\n", word(service.upstream.as_ref().unwrap_or(&service.name)));
    for option in &service.options {
        text.push_str(&format!("    {option};\n"));
    }
    for instance in instances {
        let (weight, _) = instance.weights;
        text.push_str(&format!(
            "    server {} weight={};\n",
            host_and_port(&instance.address, instance.port),
            weight.max(1)
        ));
    }
    if instances.is_empty() {
        text.push_str("    server 127.0.0.1:65535 down;\n");
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_instances_is_still_a_block() {
        let service = Service {
            name: "web".into(),
            tag: String::new(),
            datacenter: String::new(),
            upstream: None,
            options: vec!["least_conn".into()],
        };
        assert_eq!(upstream(&service, &[]), "\nupstream web {\n    least_conn;\n    server 127.0.0.1:65535 down;\n}\n");
    }
}
