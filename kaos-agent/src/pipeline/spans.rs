//! Events to exported signals.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Handle, Runtime};

use super::live::Consumer;
use super::memory::Pressure;
use super::output;
use super::stages::{StageSettings, Stages};
use crate::capture::event::{Event, SocketId};
use crate::capture::surroundings::certificates;
use crate::export::exporter::{ExportCounters, Exporter, WhenFull};
use crate::health::counters::Counters;
use crate::health::heap;
use crate::identity::environment;
use crate::identity::identities::AgentDefaults;
use crate::runs::beside::{News, Sign};
use crate::settings::OutputSettings;
use crate::telemetry::Signal;
use crate::time::Nanos;

/// How long the last spans may take to be delivered at the end. Kubernetes kills after 30 s.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// Different warnings that are logged; each is logged once, and a node has few kinds of them.
const MAX_WARNINGS: usize = 256;

/// The stages and the exporter behind them.
pub(super) struct SpanMaker {
    stages: Stages,
    /// Until the end.
    exporter: Option<Exporter>,
    exported: ExportCounters,
    runtime: Handle,
    signals: Vec<Signal>,
    warned: BTreeSet<String>,
}

impl SpanMaker {
    /// Starts the exporter.
    ///
    /// # Errors
    /// The endpoint makes no sense, or a thread cannot be made.
    pub(super) fn start(
        settings: &OutputSettings,
        max_connections: u32,
        seed: u64,
        when_full: WhenFull,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let mut warnings = Vec::new();
        let own_environment = environment::readable(environment::own_variables());
        let defaults = AgentDefaults::new(
            settings,
            &own_environment,
            &certificates(Path::new("/proc/self"), &own_environment),
            crate::identity::host_name(),
            &mut warnings,
        )?;
        let exporter = Exporter::start(
            output::target(settings.output),
            when_full,
            runtime.handle().clone(),
        )
        .context("cannot start the exporter")?;
        let mut maker = Self {
            stages: Stages::new(StageSettings {
                defaults,
                max_connections: max_connections as usize,
                seed,
            }),
            exporter: Some(exporter),
            exported: ExportCounters::default(),
            runtime: runtime.handle().clone(),
            signals: Vec::new(),
            warned: BTreeSet::new(),
        };
        maker.warn(warnings.into_iter().map(|warning| warning.to_string()));
        Ok(maker)
    }

    fn export(&mut self) {
        let warnings = self.stages.take_warnings();
        if !warnings.is_empty() {
            self.warn(warnings.into_iter().map(|warning| warning.to_string()));
        }
        for (pid, news, service) in self.stages.take_sdks() {
            let name = service.as_deref().map_or("", |service| &service.name);
            let what = match news {
                News::Found(Sign::OwnSpan) => {
                    "has an OpenTelemetry SDK inside: a call carries the id of a span of its own"
                }
                News::Found(Sign::Export) => "has an OpenTelemetry SDK inside: it exports spans",
                News::Found(Sign::Started) => {
                    "has an OpenTelemetry SDK inside: it was started with automatic instrumentation"
                }
                News::NotShown => {
                    "was started with automatic instrumentation of OpenTelemetry, which exports no \
                     spans of what it serves: it is told as if there were none"
                }
            };
            tracing::info!("process {pid} ({name}) {what}");
        }
        if let Some(exporter) = &mut self.exporter {
            for signal in self.signals.drain(..) {
                exporter.send(signal);
            }
        }
    }

    /// Logs each warning once, however many processes have the same setting.
    fn warn(&mut self, warnings: impl Iterator<Item = String>) {
        for warning in warnings {
            if self.warned.len() < MAX_WARNINGS && self.warned.insert(warning.clone()) {
                tracing::warn!("{warning}");
            }
        }
    }
}

impl Consumer for SpanMaker {
    fn push(&mut self, event: &Event) -> anyhow::Result<()> {
        self.stages.push(event, &mut self.signals);
        self.export();
        Ok(())
    }

    fn tick(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.stages.tick(now, &mut self.signals);
        self.export();
        if let Some(exporter) = &mut self.exporter {
            exporter.tick();
        }
        Ok(())
    }

    fn relieve(&mut self, pressure: Pressure, now: Nanos) {
        self.stages.admit(pressure < Pressure::Connections);
        if pressure >= Pressure::Messages {
            self.stages.shed(now, &mut self.signals);
            self.export();
        }
        if pressure >= Pressure::Spans
            && let Some(exporter) = &self.exporter
        {
            exporter.shed();
        }
        if pressure > Pressure::None {
            heap::give_back();
        }
    }

    fn take_opaque(&mut self) -> Vec<SocketId> {
        self.stages.take_opaque()
    }

    fn take_collector_ports(&mut self) -> Vec<u16> {
        self.stages.take_collector_ports()
    }

    fn finish(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.stages.finish(now, &mut self.signals);
        self.export();
        if let Some(exporter) = self.exporter.take() {
            self.exported = self.runtime.block_on(exporter.flush_and_stop(FLUSH_LIMIT));
        }
        Ok(())
    }
}

impl Counters for SpanMaker {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.stages.visit(visit);
        match &self.exporter {
            Some(exporter) => exporter.counters().visit(visit),
            None => self.exported.visit(visit),
        }
    }

    fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.stages.levels(visit);
        if let Some(exporter) = &self.exporter {
            exporter.levels(visit);
        }
    }
}
