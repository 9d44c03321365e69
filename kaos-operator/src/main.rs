//! `kaos-operator`.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use kaos_operator::api;
use kaos_operator::controller::{self, Process};
use kaos_operator::render::render;
use kaos_operator::settings::Settings;
use kaos_operator::telemetry::{LogFormat, Telemetry};
use kaos_operator::webhook;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Turns the KAOS resources Agent, MCPServer and ModelAPI into workloads with their telemetry.
///
/// Settings are read from the environment: SYSTEM_NAMESPACE, DEFAULT_*_IMAGE, DEFAULT_TELEMETRY_*,
/// DEFAULT_LOG_LEVEL, GATEWAY_*. A setting that is unknown or not valid ends the program at once.
#[derive(Debug, Parser)]
#[command(name = "kaos-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reconcile the resources of a cluster, until SIGTERM.
    ///
    /// The cluster is the one that the pod runs in, or that of KUBECONFIG. Of several replicas
    /// only the holder of the lease kaos-operator in SYSTEM_NAMESPACE writes.
    ///
    /// With OTEL_EXPORTER_OTLP_ENDPOINT each reconcile is told as a trace; the other OTEL_*
    /// variables of OTLP export, of batches of spans and of resources hold as well. Authorities of
    /// its own for https are in the file that SSL_CERT_FILE names.
    Run(RunOptions),
    /// Print the custom resource definitions.
    Crds,
    /// Print what would be created for the resources of manifests, without a cluster.
    ///
    /// What they refer to must be among them, and counts as ready. Exits with 1 and says why on
    /// stderr where a resource is not valid or refers to one that is not there.
    Render {
        /// File of YAML documents; - for standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Name of this replica in the lease; by default the host's name, which is the pod's.
    #[arg(long, value_name = "NAME", env = "HOSTNAME")]
    identity: String,
    /// Where admission reviews are answered, over TLS; without it there is no webhook.
    #[arg(long, value_name = "ADDRESS")]
    webhook_listen: Option<SocketAddr>,
    /// The ValidatingWebhookConfiguration in which the API server is told to trust this replica.
    #[arg(long, value_name = "NAME", default_value = "kaos-operator")]
    webhook_configuration: String,
    /// How long a certificate of the webhook is valid, in seconds; it is replaced before.
    #[arg(long, value_name = "SECONDS", default_value = "604800", value_parser = 10..)]
    webhook_certificate_lifetime: i64,
    /// What is logged, as target=level pairs.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "KAOS_OPERATOR_LOG"
    )]
    log: String,
    /// How it is logged.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kaos-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(options) => run_controller(options),
        Command::Crds => print_crds(),
        Command::Render { file } => print_rendered(&file),
    }
}

fn run_controller(options: RunOptions) -> Result<ExitCode> {
    let settings = Settings::from_variables(std::env::vars())?;
    let filter = EnvFilter::builder()
        .parse(&options.log)
        .with_context(|| format!("--log {:?} is no filter", options.log))?;
    // The TLS of the export over HTTP asks for it.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        bail!("a provider of cryptography is installed already");
    }
    let process = Process {
        listen: options.listen,
        identity: options.identity,
        webhook: options.webhook_listen.map(|listen| webhook::Options {
            listen,
            configuration: options.webhook_configuration,
            lifetime: Duration::from_secs(options.webhook_certificate_lifetime.unsigned_abs()),
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // It waits for the API server most of the time.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let telemetry = {
        let _inside = runtime.enter();
        Telemetry::start(filter, options.log_format, &process.identity)?
    };
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let config = kube::Config::infer()
            .await
            .context("there is neither a service account nor a kubeconfig")?;
        controller::run(config, settings, process, shutdown).await
    });
    telemetry.shut_down();
    result?;
    Ok(ExitCode::SUCCESS)
}

fn print_crds() -> Result<ExitCode> {
    for crd in api::crds() {
        let yaml = serde_saphyr::to_string(&crd).context("cannot write a CRD as YAML")?;
        print!("---\n{yaml}");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_rendered(file: &Path) -> Result<ExitCode> {
    let settings = Settings::from_variables(std::env::vars())?;
    let manifests = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let manifests = manifests.with_context(|| format!("cannot read {}", file.display()))?;
    let rendered = render(&manifests, &settings)?;
    print!("{}", rendered.yaml);
    for problem in &rendered.problems {
        eprintln!("kaos-operator: {problem}");
    }
    Ok(if rendered.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
