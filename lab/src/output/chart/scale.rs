//! Maps values to positions along an axis, and chooses its ticks.

/// The multiples within a decade that may have a tick, from many to few.
const WITHIN: [&[f64]; 4] = [
    &[1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
    &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 3.0],
];

/// An axis: logarithmic if all values are positive, else linear from 0. Positions on it are shares
/// of its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Creates an axis that holds these values, with a margin on both sides.
    pub(super) fn holding(values: impl Iterator<Item = f64>) -> Scale {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        if values.is_empty() || most <= 0.0 {
            return Scale { low: 0.0, high: 1.0, logarithmic: false };
        }
        if least <= 0.0 {
            return Scale { low: 0.0, high: most * 1.04, logarithmic: false };
        }
        let margin = ((most.ln() - least.ln()) * 0.03).exp().max(1.06);
        Scale { low: least / margin, high: (most * margin).min(f64::MAX), logarithmic: true }
    }

    /// Returns the end of the label of the axis.
    pub(super) fn says_log(&self) -> &'static str {
        if self.logarithmic { " (log)" } else { "" }
    }

    /// Returns the position of a value: 0 at the low end, 1 at the high end.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    /// Returns at most `most + 1` round values, for ticks at roughly even distances.
    pub(super) fn ticks(&self, most: usize) -> Vec<f64> {
        if !self.logarithmic {
            let step = step_up((self.high - self.low) / most.max(2) as f64);
            let steps = (0..=most).map(|at| self.low + at as f64 * step);
            return steps.filter(|tick| *tick <= self.high).collect();
        }
        #[allow(clippy::cast_possible_truncation)] // a number of decades
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil().min(300.0) as i32;
        let inside = |tick: &f64| *tick >= self.low * 0.999 && *tick <= self.high * 1.001;
        for parts in WITHIN {
            let all = decades
                .clone()
                .flat_map(|decade| parts.iter().map(move |part| part * 10_f64.powi(decade)));
            let ticks: Vec<f64> = all.filter(inside).collect();
            if ticks.len() <= most {
                return ticks;
            }
        }
        let span = decades.end() - decades.start();
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // a handful
        let every = (span / most.max(1) as i32 + 1).max(1);
        decades
            .filter(|decade| decade.rem_euclid(every) == 0)
            .map(|decade| 10_f64.powi(decade))
            .filter(inside)
            .collect()
    }
}

/// Returns the next of 1, 2, 5, 10, 20, ... that is not below `value`.
fn step_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| value <= step * decade * 1.001);
    step.unwrap_or(10.0) * decade
}

/// Moves the middles of labels apart until none covers another, as little as possible, and within
/// `top..=bottom` if they fit. Returns them in the given order.
pub(super) fn apart(wanted: &[f64], distance: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let half = |many: usize| (many - 1) as f64 * distance / 2.0;
    let within = |middle: f64, many: usize| {
        let room = half(many);
        middle.min(bottom - room).max(top + room)
    };
    // Labels that would touch become a stack around the mean of their wanted positions.
    let mut stacks: Vec<(f64, usize)> = Vec::new();
    for at in &order {
        stacks.push((within(wanted[*at], 1), 1));
        while let [.., (above, many), (below, more)] = stacks[..] {
            if above + half(many) + distance <= below - half(more) + 1e-9 {
                break;
            }
            stacks.truncate(stacks.len() - 2);
            let all = many + more;
            let mean = (above * many as f64 + below * more as f64) / all as f64;
            stacks.push((within(mean, all), all));
        }
    }
    let mut places = vec![0.0; wanted.len()];
    let mut next = order.into_iter();
    for (middle, many) in stacks {
        for (step, at) in next.by_ref().take(many).enumerate() {
            places[at] = middle - half(many) + step as f64 * distance;
        }
    }
    places
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
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] > 13.99), "{sorted:?}");
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
    fn equal_ratios_are_equal_distances() {
        let scale = Scale::holding([1_000.0, 10_000.0, 100_000.0].into_iter());
        let [a, b, c] = [1e3, 1e4, 1e5].map(|value| scale.share(value));
        assert!(((b - a) - (c - b)).abs() < 1e-9 && a > 0.0 && c < 1.0);
    }

    #[test]
    fn every_axis_has_an_extent_and_few_ticks() {
        for values in [
            vec![],
            vec![0.0],
            vec![5.0],
            vec![f64::NAN, 3.0],
            vec![1.0, 1.1],
            vec![-3.0, 7.0],
            vec![1e-300, 1e300],
            vec![1.0, 1e9],
        ] {
            let scale = Scale::holding(values.iter().copied());
            assert!(scale.high > scale.low, "{values:?}");
            assert!((0.0..=1.0).contains(&scale.share(3.0)), "{values:?}");
            for most in [3, 5, 8] {
                let ticks = scale.ticks(most);
                assert!(ticks.len() <= most + 1, "{values:?}: {ticks:?}");
            }
        }
        let ratios = Scale::holding([0.9, 1.0, 40.0].into_iter());
        assert_eq!(ratios.ticks(5), [1.0, 2.0, 5.0, 10.0, 20.0]);
    }
}
