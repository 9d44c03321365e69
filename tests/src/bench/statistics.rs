//! Medians and their spread.

use std::fmt;

/// Median and quartiles of a few measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half of the measurements are at or below it.
    pub median: f64,
    /// A quarter is at or below it.
    pub lower: f64,
    /// Three quarters are at or below it.
    pub upper: f64,
}

impl Spread {
    /// Of at least one measurement; of none, everything is NaN.
    pub fn of(measurements: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measurements.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            lower: quantile(&sorted, 0.25),
            upper: quantile(&sorted, 0.75),
        }
    }
}

impl fmt::Display for Spread {
    /// `median (lower–upper)`, with as many decimals as the precision says.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = formatter.precision().unwrap_or(1);
        let (median, lower, upper) = (self.median, self.lower, self.upper);
        write!(
            formatter,
            "{median:.decimals$} ({lower:.decimals$}–{upper:.decimals$})"
        )
    }
}

/// The value below which this share of the sorted values lies, interpolated between neighbours.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            (spread.lower, spread.median, spread.upper),
            (1.75, 2.5, 3.25)
        );
        assert_eq!(format!("{spread:.2}"), "2.50 (1.75–3.25)");
    }

    #[test]
    fn one_measurement_is_its_own_median() {
        assert_eq!(Spread::of([7.0]).to_string(), "7.0 (7.0–7.0)");
    }
}
