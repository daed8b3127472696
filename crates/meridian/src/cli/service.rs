//! `meridian service`: what clients are steered to, and how it stands.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, Tone, joined};
use super::{Global, Outcome};
use crate::admin::services::ServicesStatus;
use clap::{Args, Subcommand};
use meridian_types::service::DEFAULT_TTL_S;
use meridian_types::{Backend, HealthCheck, HostName, RegionName, Service, ServiceName, ServicePolicy};
use std::collections::BTreeMap;

/// The subcommands of `service`.
#[derive(Subcommand)]
pub(super) enum ServiceCommand {
    /// Register a service: DNS answers for its hosts from now on
    Add(AddArgs),
    /// List the services
    List,
    /// Show how services stand in each region, and why
    Status {
        /// Only this service
        name: Option<ServiceName>,
    },
    /// Show which addresses the node announces by BGP, and why not
    Anycast,
    /// Start a small sample application in every region of a development cluster, and register it
    Demo(super::demo::DemoArgs),
    /// Run one process of the sample application
    #[command(hide = true)]
    RunDemo(super::demo::RunDemoArgs),
    /// Remove a service
    Remove {
        /// Its name
        name: ServiceName,
    },
}

/// Arguments of `service add`.
#[derive(Args)]
pub(super) struct AddArgs {
    /// Its name
    name: ServiceName,
    /// A host name under which clients know it; may be repeated
    #[arg(long = "host", required = true, value_name = "HOST")]
    hosts: Vec<HostName>,
    /// How backends are probed: a path to get, tcp for a connection, or region for the region's own nodes
    #[arg(long, default_value = "/", value_name = "CHECK")]
    health: HealthCheck,
    /// Where it runs: REGION=http://HOST:PORT, or https:// or tcp://; may be repeated, also for one region
    #[arg(long = "backend", required = true, value_parser = backend, value_name = "REGION=URL")]
    backends: Vec<(RegionName, Backend)>,
    /// Who serves whom: nearest, active-passive:REGION,REGION or weighted:REGION=3,REGION=1
    #[arg(long, default_value = "nearest")]
    policy: ServicePolicy,
    /// How long resolvers may keep an answer, in seconds
    #[arg(long, default_value_t = DEFAULT_TTL_S, value_name = "SECONDS")]
    ttl: u32,
    /// Replace the service if it exists
    #[arg(long)]
    replace: bool,
}

fn backend(text: &str) -> Result<(RegionName, Backend), String> {
    let (region, url) = text
        .split_once('=')
        .ok_or_else(|| "write REGION=URL, such as us-east-1=http://192.0.2.1:8080".to_owned())?;
    Ok((
        RegionName::new(region).map_err(|error| error.to_string())?,
        url.parse().map_err(|error: meridian_types::service::BackendError| error.to_string())?,
    ))
}

impl AddArgs {
    fn service(self) -> Result<(Service, bool), Failure> {
        let mut backends: BTreeMap<RegionName, Vec<Backend>> = BTreeMap::new();
        for (region, backend) in self.backends {
            backends.entry(region).or_default().push(backend);
        }
        let service = Service {
            name: self.name,
            hosts: self.hosts,
            health: self.health,
            backends,
            policy: self.policy,
            ttl_s: self.ttl,
        };
        service.validate().map_err(|error| Failure::usage(error.to_string()))?;
        Ok((service, !self.replace))
    }
}

pub(super) async fn run(command: ServiceCommand, global: &Global) -> Outcome {
    match command {
        ServiceCommand::Add(args) => {
            let (service, new) = args.service()?;
            let service = connect(global).await?.put_service(&service, new).await?;
            show(&[service], global)
        }
        ServiceCommand::List => show(&connect(global).await?.services().await?.services, global),
        ServiceCommand::Status { name } => {
            let mut status = connect(global).await?.services_status().await?;
            if let Some(name) = name {
                status.services.retain(|service| service.name == name);
                if status.services.is_empty() {
                    return Err(Failure::failed(format!(
                        "service {name} does not exist; `meridian service list` shows those that do"
                    )));
                }
            }
            match global.output {
                Format::Json => output::json(&status),
                Format::Table => {
                    status_grid(&status).emit();
                    Ok(())
                }
            }
        }
        ServiceCommand::Demo(args) => super::demo::start(args, global).await,
        ServiceCommand::RunDemo(args) => super::demo::run(args).await,
        ServiceCommand::Anycast => super::anycast::run(global).await,
        ServiceCommand::Remove { name } => {
            connect(global).await?.remove_service(&name).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "removed": name })),
                Format::Table => {
                    output::emit(&format!("removed service {name}\n"));
                    Ok(())
                }
            }
        }
    }
}

fn show(services: &[Service], global: &Global) -> Outcome {
    if global.output == Format::Json {
        return output::json(&serde_json::json!({ "services": services }));
    }
    let mut grid = Grid::new(&["SERVICE", "HOSTS", "HEALTH", "POLICY", "TTL", "BACKENDS"]);
    for service in services {
        let backends: Vec<String> = service
            .backends
            .iter()
            .flat_map(|(region, urls)| urls.iter().map(move |url| format!("{region}={url}")))
            .collect();
        grid.row(vec![
            service.name.to_string(),
            joined(&service.hosts),
            service.health.to_string(),
            service.policy.to_string(),
            format!("{} s", service.ttl_s),
            joined(&backends),
        ]);
    }
    grid.emit();
    Ok(())
}

fn status_grid(status: &ServicesStatus) -> Grid {
    let mut grid = Grid::new(&["SERVICE", "REGION", "VERDICT", "FOR", "WHY"]);
    for service in &status.services {
        for place in &service.regions {
            let mut why = place.because.join("; ");
            if service.fail_open {
                why = format!("fail open: clients are sent to every region; {why}");
            }
            grid.toned(vec![
                (service.name.to_string(), Tone::Plain),
                (place.region.to_string(), Tone::Plain),
                (place.verdict.to_string(), super::status::tone(place.verdict)),
                (format!("{:.0} s", place.since_s), Tone::Plain),
                (if why.is_empty() { "-".to_owned() } else { why }, Tone::Plain),
            ]);
        }
    }
    grid
}
