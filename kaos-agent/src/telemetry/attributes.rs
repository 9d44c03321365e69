//! Attributes under construction.

use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::secrets::masked_name;

/// Bytes of an attribute value that are exported. The SDKs have no limit of their own
/// (`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`); this one holds every URL that proxies let through by
/// default (8 KiB heads), short of the absurd.
pub const MAX_VALUE_BYTES: usize = 4096;

/// A list of attributes. There are always fewer than the 128 that the SDKs allow.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    list: Vec<KeyValue>,
    values_cut: u64,
}

impl Attributes {
    /// With room for those of an HTTP span.
    #[must_use]
    pub fn of_http() -> Self {
        Self {
            list: Vec::with_capacity(20),
            values_cut: 0,
        }
    }

    /// Adds a text, cut to [`MAX_VALUE_BYTES`].
    pub fn text(&mut self, name: &'static str, value: impl Into<String>) {
        let mut value = value.into();
        if value.len() > MAX_VALUE_BYTES {
            value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
            self.values_cut += 1;
        }
        self.list.push(KeyValue::new(name, value));
    }

    /// Adds a name or an id that the traffic said, without what looks like a secret.
    pub fn said(&mut self, name: &'static str, value: &str) {
        // What is cut off need not be looked at, except where a secret is cut in two.
        let end = value.floor_char_boundary(2 * MAX_VALUE_BYTES);
        self.text(name, masked_name(&value[..end]));
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

    /// Adds a list of texts that the traffic said, each cut to [`MAX_VALUE_BYTES`].
    pub fn texts<'a>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'a str>) {
        let values = values.into_iter().map(|value| {
            let end = value.floor_char_boundary(MAX_VALUE_BYTES);
            self.values_cut += u64::from(end < value.len());
            StringValue::from(masked_name(&value[..end]))
        });
        let values = values.collect::<Vec<_>>();
        let value = Value::Array(Array::String(values));
        self.list.push(KeyValue::new(name, value));
    }

    /// Cuts each text to so many characters.
    pub fn limit(&mut self, characters: usize) {
        let cut = |text: &mut StringValue, values_cut: &mut u64| {
            if text.as_str().len() > characters
                && let Some((end, _)) = text.as_str().char_indices().nth(characters)
            {
                *text = text.as_str()[..end].to_owned().into();
                *values_cut += 1;
            }
        };
        for attribute in &mut self.list {
            match &mut attribute.value {
                Value::String(text) => cut(text, &mut self.values_cut),
                Value::Array(Array::String(texts)) => {
                    texts
                        .iter_mut()
                        .for_each(|text| cut(text, &mut self.values_cut));
                }
                _ => {}
            }
        }
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
    fn limits_count_characters() {
        let mut attributes = Attributes::default();
        attributes.text("cut", "ééé");
        attributes.constant("short", "éé");
        attributes.texts("texts", ["abc", "ab"]);
        attributes.number("number", 12_345);
        attributes.limit(2);
        assert_eq!(attributes.values_cut(), 2);
        let values = attributes.into_vec();
        let values: Vec<_> = values.iter().map(|it| it.value.to_string()).collect();
        assert_eq!(values, ["éé", "éé", r#"["ab","ab"]"#, "12345"]);
    }

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
