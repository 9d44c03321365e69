//! Attributes under construction.

use opentelemetry::{Array, KeyValue, StringValue, Value};

/// Bytes of an attribute value that are exported. The SDKs have no limit of their own
/// (`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`); this one holds every URL that proxies let through by
/// default (8 KiB heads), short of the absurd.
pub const MAX_VALUE_BYTES: usize = 4096;

/// A list of attributes. There are always fewer than the 128 that the SDKs allow.
#[derive(Debug, Default)]
pub struct Attributes {
    list: Vec<KeyValue>,
    values_cut: u64,
}

impl Attributes {
    /// Adds a text, cut to [`MAX_VALUE_BYTES`].
    pub fn text(&mut self, name: &'static str, value: impl Into<String>) {
        let mut value = value.into();
        if value.len() > MAX_VALUE_BYTES {
            value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
            self.values_cut += 1;
        }
        self.list.push(KeyValue::new(name, value));
    }

    /// Adds a text that needs no memory of its own.
    pub fn constant(&mut self, name: &'static str, value: &'static str) {
        self.list.push(KeyValue::new(name, value));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX);
        self.list.push(KeyValue::new(name, value));
    }

    /// Adds a number with a fraction.
    pub fn fraction(&mut self, name: &'static str, value: f64) {
        self.list.push(KeyValue::new(name, value));
    }

    /// Adds yes or no.
    pub fn truth(&mut self, name: &'static str, value: bool) {
        self.list.push(KeyValue::new(name, value));
    }

    /// Adds a list of texts, each cut to [`MAX_VALUE_BYTES`].
    pub fn texts<'a>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'a str>) {
        let values = values.into_iter().map(|value| {
            let end = value.floor_char_boundary(MAX_VALUE_BYTES);
            self.values_cut += u64::from(end < value.len());
            StringValue::from(value[..end].to_owned())
        });
        let values = values.collect::<Vec<_>>();
        let value = Value::Array(Array::String(values));
        self.list.push(KeyValue::new(name, value));
    }

    /// Values that were cut.
    #[must_use]
    pub fn values_cut(&self) -> u64 {
        self.values_cut
    }

    /// The list, in the order in which it was made.
    #[must_use]
    pub fn into_vec(self) -> Vec<KeyValue> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let mut attributes = Attributes::default();
        attributes.text("short", "é".repeat(MAX_VALUE_BYTES / 2));
        attributes.text("long", format!("x{}", "é".repeat(MAX_VALUE_BYTES / 2)));
        assert_eq!(attributes.values_cut(), 1);
        let lengths = attributes.into_vec();
        let lengths: Vec<_> = lengths.iter().map(|a| a.value.as_str().len()).collect();
        assert_eq!(lengths, [MAX_VALUE_BYTES, MAX_VALUE_BYTES - 1]);
    }
}
