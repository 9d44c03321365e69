//! The recordings of real traffic in `testdata`, for the tests that replay them.
#![allow(dead_code, reason = "each of these tests needs a part of it")]

use std::path::{Path, PathBuf};

use kaos_agent::capture::event::Event;
use kaos_agent::capture::recording::Reader;
use kaos_agent::exchanges::exchange::{Exchange, ExchangeEvent};
use kaos_agent::exchanges::{Exchanges, reading};
use kaos_agent::identity::identities::AgentDefaults;
use kaos_agent::pipeline::{StageSettings, Stages};
use kaos_agent::protocols::Protocols;
use kaos_agent::settings::{BesideSdkSettings, HttpSpans, Output, OutputSettings};
use kaos_agent::streams::Streams;

/// One recording.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
}

/// All of them, sorted by name.
pub fn recordings() -> Vec<Recording> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = std::fs::read_dir(directory).expect("the recordings are part of the sources");
    let paths = entries.map(|entry| entry.expect("the directory can be listed").path());
    let is_recording = |path: &PathBuf| path.extension().is_some_and(|it| it == "kaosrec");
    let mut paths: Vec<PathBuf> = paths.filter(is_recording).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are recordings");
    paths.into_iter().map(|path| Recording { path }).collect()
}

/// Stages that tell everything, with this environment of the agent.
pub fn stages(environment: &[(String, String)]) -> Stages {
    let options = OutputSettings {
        output: Output::Tree,
        http_spans: HttpSpans::All,
        otlp_endpoint: None,
        otlp_protocol: None,
        beside_sdk: BesideSdkSettings::default(),
    };
    Stages::new(StageSettings {
        defaults: AgentDefaults::new(&options, environment, &[], None, &mut Vec::new())
            .expect("no endpoint is given that could be wrong"),
        max_connections: 1024,
        seed: 1,
    })
}

impl Recording {
    /// The name of its file, without extension.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().expect("a recording has a name");
        stem.to_string_lossy().into_owned()
    }

    /// What was recorded.
    pub fn events(&self) -> Vec<Event> {
        Reader::open(&self.path)
            .expect("it is a recording")
            .map(|event| event.expect("the recording is whole"))
            .collect()
    }

    /// Its exchanges, in the order in which they began.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let mut streams = Streams::new(Default::default());
        let mut protocols = Protocols::new(Default::default(), reading);
        let mut exchanges = Exchanges::new(Default::default());
        let (mut chunks, mut parts, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let events = self.events();
        for event in &events {
            streams.push(event, &mut chunks);
        }
        streams.finish(events.last().map_or(0, Event::at), &mut chunks);
        for chunk in chunks {
            protocols.push(chunk, &mut parts);
        }
        for part in parts {
            exchanges.push(part, &mut told);
        }
        let ended = told.into_iter().filter_map(|event| match event {
            ExchangeEvent::Ended(exchange) => Some(*exchange),
            _ => None,
        });
        let mut ended: Vec<Exchange> = ended.collect();
        ended.sort_by_key(|exchange| exchange.request.id);
        ended
    }
}
