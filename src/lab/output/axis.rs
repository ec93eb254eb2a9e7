//! From values to places along an axis, and where it is labelled.

use crate::lab::section::{Quantity, bare, time};

/// An axis from one end of its chart to the other. Places on it are shares of its
/// length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) logarithmic: bool,
    /// Whether a logarithmic axis has a place for 0, at its very start.
    pub(super) zero: bool,
}

/// How much of a logarithmic axis lies between 0 and its lowest value.
const ZERO: f64 = 0.08;

impl Scale {
    /// An axis that holds these values: from 0 where it is linear, in whole steps of
    /// its labels where it is logarithmic.
    pub(super) fn holding(values: impl Iterator<Item = f64>, logarithmic: bool) -> Scale {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let most = positive().fold(0.0, f64::max);
        let least = positive().fold(f64::MAX, f64::min);
        if most <= 0.0 {
            return Scale {
                low: 0.0,
                high: 1.0,
                logarithmic: false,
                zero: false,
            };
        }
        if !logarithmic {
            return Scale {
                low: 0.0,
                high: most * 1.04,
                logarithmic,
                zero: false,
            };
        }
        // Room beside the outermost points, and never a scale of no length.
        let margin = (most / least).powf(0.03).max(1.06);
        Scale {
            low: least / margin,
            high: most * margin,
            logarithmic,
            zero: values.len() > positive().count(),
        }
    }

    pub(super) fn share(&self, value: f64) -> f64 {
        if !self.logarithmic {
            return ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        }
        let start = if self.zero { ZERO } else { 0.0 };
        if self.zero && value <= 0.0 {
            return 0.0;
        }
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        start + share.clamp(0.0, 1.0) * (1.0 - start)
    }

    /// Round values to draw lines at.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = step_down((self.high - self.low) / 4.0);
            let mut ticks = vec![self.low];
            while let Some(&last) = ticks.last()
                && last + step <= self.high * 1.001
            {
                ticks.push(last + step);
            }
            return ticks;
        }
        let decades = (self.high / self.low).log10();
        let within: &[f64] = match decades {
            d if d < 0.5 => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            d if d < 2.2 => &[1.0, 2.0, 5.0],
            d if d < 4.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        #[allow(clippy::cast_possible_truncation)] // a number of decades
        let first = self.low.log10().floor() as i32;
        let ticks = (first..first + 20)
            .flat_map(|decade| within.iter().map(move |part| part * 10_f64.powi(decade)))
            .filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001);
        self.zero.then_some(0.0).into_iter().chain(ticks).collect()
    }
}

/// The next of 1, 2, 5, 10, 20, ... that is not above `value`.
pub(super) fn step_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let part = value / decade;
    let step = [5.0, 2.0, 1.0]
        .into_iter()
        .find(|step| part >= step * 0.999);
    step.unwrap_or(1.0) * decade
}

/// A round value, as it is written at an axis.
pub(super) fn label(quantity: Quantity, value: f64) -> String {
    match quantity {
        Quantity::Time => without_zeros(&time(value)),
        Quantity::Ratio => format!("{}×", bare(value)),
        _ if value == 0.0 => "0".into(),
        Quantity::MillionsPerSecond => bare(value),
        other => without_zeros(&other.text(value)),
    }
}

fn without_zeros(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            if number == "0" {
                return "0".into();
            }
            format!("{number} {unit}")
        }
        _ => text.into(),
    }
}

/// Moves the middles of labels apart until none covers another, as little as
/// possible and without leaving `top..=bottom`; answers in the order given.
#[allow(clippy::cast_precision_loss)] // counts of labels
pub(super) fn apart(wanted: &[f64], distance: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    // Labels that would touch become a stack around the mean of what they want.
    let mut stacks: Vec<(f64, usize)> = Vec::new();
    for at in &order {
        stacks.push((wanted[*at], 1));
        while let [.., (above, many), (below, more)] = stacks[..] {
            let (upper, lower) = (above + half(many, distance), below - half(more, distance));
            if upper + distance <= lower + f64::EPSILON {
                break;
            }
            stacks.truncate(stacks.len() - 2);
            let all = (many + more) as f64;
            let mean = (above * many as f64 + below * more as f64) / all;
            let room = half(many + more, distance);
            let mean = mean.min(bottom - room).max(top + room);
            stacks.push((mean, many + more));
        }
    }
    let mut places = vec![0.0; wanted.len()];
    let mut next = order.into_iter();
    for (middle, many) in stacks {
        for (step, at) in next.by_ref().take(many).enumerate() {
            places[at] = middle - half(many, distance) + step as f64 * distance;
        }
    }
    places
}

/// From the middle of a stack to that of its first label.
#[allow(clippy::cast_precision_loss)] // counts of labels
fn half(many: usize, distance: f64) -> f64 {
    (many - 1) as f64 * distance / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_cover_each_other_and_keep_their_order() {
        let wanted = [50.0, 10.0, 52.0, 51.0, 200.0, 199.0, 12.0];
        let places = apart(&wanted, 14.0, 0.0, 200.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(
            sorted.windows(2).all(|pair| pair[1] - pair[0] > 13.99),
            "{sorted:?}"
        );
        assert!(sorted[0] >= 0.0 && sorted[6] <= 200.0, "{sorted:?}");
        for (a, x) in wanted.iter().zip(&places) {
            for (b, y) in wanted.iter().zip(&places) {
                assert!(a >= b || x < y, "{a} and {b} changed places");
            }
        }
        assert_eq!(apart(&[5.0, 90.0], 14.0, 0.0, 100.0), [5.0, 90.0]);
        assert_eq!(apart(&[], 14.0, 0.0, 100.0), [0.0; 0]);
    }

    #[test]
    fn nothing_stands_at_the_start_and_ratios_are_distances() {
        let scale = Scale::holding([0.0, 1_000.0, 10_000.0, 100_000.0].into_iter(), true);
        let [zero, a, b, c] = [0.0, 1e3, 1e4, 1e5].map(|value| scale.share(value));
        assert!(zero.abs() < f64::EPSILON && a > 0.05);
        assert!(((b - a) - (c - b)).abs() < 1e-9 && c < 1.0);
        assert!(scale.ticks()[0].abs() < f64::EPSILON);
    }

    #[test]
    fn an_axis_without_extent_is_still_one() {
        for values in [vec![], vec![0.0], vec![5.0], vec![f64::NAN, 3.0]] {
            for logarithmic in [false, true] {
                let scale = Scale::holding(values.iter().copied(), logarithmic);
                assert!(scale.high > scale.low, "{values:?}");
                let share = scale.share(3.0);
                assert!((0.0..=1.0).contains(&share), "{values:?}: {share}");
                assert!(!scale.ticks().is_empty(), "{values:?}");
            }
        }
    }
}
