//! Exemplars: for each bucket of a histogram the last measurement since the export before, and the
//! span that it belongs to. The SDK makes none, so they are put into what it has aggregated.
//!
//! Counters have none: each of ours stands beside a histogram of the same measurements.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, exemplar, metric};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};
use rustc_hash::FxHashMap;

use crate::identity::service::ExemplarFilter;
use crate::telemetry::Moment;
use crate::telemetry::instruments::{Instrument, InstrumentKind};

/// Sets of attributes, of all instruments of a service, that have exemplars in one export. A
/// service has some dozens.
pub(super) const MOST_POINTS: usize = 512;

/// Attributes as they were recorded.
type Point = Vec<KeyValue>;

/// The exemplars of one point, each with the number of its bucket.
type OfPoint = Vec<(usize, Exemplar)>;

/// Exemplars of one service since the last export.
#[derive(Debug)]
pub(super) struct Exemplars {
    filter: ExemplarFilter,
    instruments: FxHashMap<&'static str, HashMap<Point, OfPoint>>,
    points: usize,
    /// Measurements that would have been exemplars, if there had been room.
    left_out: u64,
}

impl Exemplars {
    /// There are none yet.
    pub(super) fn new(filter: ExemplarFilter) -> Self {
        Self {
            filter,
            instruments: FxHashMap::default(),
            points: 0,
            left_out: 0,
        }
    }

    /// Something was measured.
    pub(super) fn offer(
        &mut self,
        instrument: &'static Instrument,
        value: f64,
        attributes: &[KeyValue],
        moment: Moment,
    ) {
        let InstrumentKind::Histogram(boundaries) = instrument.kind else {
            return;
        };
        let is_wanted = match self.filter {
            ExemplarFilter::TraceBased => moment.span.is_some(),
            ExemplarFilter::AlwaysOn => true,
            ExemplarFilter::AlwaysOff => false,
        };
        if !is_wanted {
            return;
        }
        // A boundary belongs to the bucket below it.
        let bucket = boundaries.partition_point(|boundary| *boundary < value);
        let exemplar = exemplar(value, moment);
        let points = self.instruments.entry(instrument.name).or_default();
        let of_point = match points.get_mut(attributes) {
            Some(known) => known,
            None if self.points < MOST_POINTS => {
                self.points += 1;
                points.entry(attributes.to_vec()).or_default()
            }
            None => {
                self.left_out += 1;
                return;
            }
        };
        match of_point.iter_mut().find(|(other, _)| *other == bucket) {
            Some((_, last)) => *last = exemplar,
            None => of_point.push((bucket, exemplar)),
        }
    }

    /// Those since this was asked last; leaves none.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.filter))
    }

    /// Puts each into the point that it belongs to, in the request that was made of `measured`. How
    /// many have none: what they measured is in the point of the overflow.
    pub(super) fn put_into(
        self,
        request: &mut ExportMetricsServiceRequest,
        measured: &ResourceMetrics,
    ) -> u64 {
        let mut sorted: FxHashMap<&str, HashMap<Point, OfPoint>> = FxHashMap::default();
        for (instrument, points) in self.instruments {
            let points = points.into_iter();
            let points = points.map(|(point, exemplars)| (in_order(point), exemplars));
            sorted.insert(instrument, points.collect());
        }
        let aggregated = measured.scope_metrics().flat_map(|scope| scope.metrics());
        let resources = request.resource_metrics.iter_mut();
        let scopes = resources.flat_map(|resource| &mut resource.scope_metrics);
        let requested = scopes.flat_map(|scope| &mut scope.metrics);
        for (metric, requested) in aggregated.zip(requested) {
            if let Some(points) = sorted.get_mut(metric.name())
                && let Some(metric::Data::Histogram(histogram)) = &mut requested.data
            {
                let attributes = attributes_of_points(metric);
                for (attributes, point) in attributes.into_iter().zip(&mut histogram.data_points) {
                    let exemplars = points.remove(&in_order(attributes)).unwrap_or_default();
                    point.exemplars = exemplars.into_iter().map(|(_, it)| it).collect();
                }
            }
        }
        let homeless = sorted.values().flat_map(|points| points.values());
        self.left_out
            + homeless
                .map(|exemplars| exemplars.len() as u64)
                .sum::<u64>()
    }
}

/// The attributes of each point of a histogram, in the order in which they are exported.
fn attributes_of_points(metric: &Metric) -> Vec<Point> {
    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
        return Vec::new();
    };
    let points = histogram.data_points();
    points
        .map(|point| point.attributes().cloned().collect())
        .collect()
}

/// The SDK takes attributes in any order for the same.
fn in_order(mut point: Point) -> Point {
    point.sort_by(|one, other| one.key.as_str().cmp(other.key.as_str()));
    point
}

fn exemplar(value: f64, moment: Moment) -> Exemplar {
    let (trace_id, span_id) = moment.span.map_or_else(Default::default, |(trace, span)| {
        (trace.to_bytes().to_vec(), span.to_bytes().to_vec())
    });
    Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: unix_nanos(moment.at),
        span_id,
        trace_id,
        value: Some(exemplar::Value::AsDouble(value)),
    }
}

fn unix_nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
