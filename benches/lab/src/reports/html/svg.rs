//! As much SVG as the plots need. Colours come from classes: `cN` is an allocator's.

use std::fmt::Write;

/// Text that may stand in an element or an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

pub struct Svg(String);

impl Svg {
    /// `label` is what a reader who does not see the plot is told.
    pub fn new(width: f64, height: f64, label: &str) -> Svg {
        let label = escape(label);
        Svg(format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">\n"))
    }

    /// What follows, up to `close`, belongs to an allocator.
    pub fn series(&mut self, class: usize, allocator: &str) {
        let _ = writeln!(self.0, "<g class=\"c{class}\" data-a=\"{}\">", escape(allocator));
    }

    pub fn close(&mut self) {
        self.0.push_str("</g>\n");
    }

    pub fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let _ = writeln!(
            self.0,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    pub fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        let _ = writeln!(
            self.0,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
        );
    }

    /// The class says on which side of x the text is: `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escape(text);
        let _ = writeln!(self.0, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }

    /// Beside an axis, read from below.
    pub fn upright(&mut self, x: f64, y: f64, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.0,
            "<text class=\"middle title\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{text}</text>"
        );
    }

    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut d = String::new();
        for (place, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        }
        let _ = writeln!(self.0, "<path class=\"{class}\" d=\"{d}\"/>");
    }

    /// With what it stands for, for whoever points at it.
    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, title: &str) {
        let title = escape(title);
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{title}</title></circle>"
        );
    }

    pub fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// Moves labels apart that stand at these heights until no two are nearer than `gap`, each as little as its neighbours allow, and within
/// the limits as far as there is room. Labels that touch form a block, which stands at the mean of what its labels want.
pub fn spread_apart(heights: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    // Of each block: how many labels, and where its first wants to be.
    let mut blocks: Vec<(usize, f64)> = Vec::new();
    for &at in &order {
        let mut block = (1, heights[at]);
        while let Some(&(count, first)) = blocks.last() {
            if first + gap * count as f64 <= block.1 {
                break;
            }
            blocks.pop();
            let behind = block.1 - gap * count as f64;
            let all = count + block.0;
            block = (all, (first * count as f64 + behind * block.0 as f64) / all as f64);
        }
        blocks.push(block);
    }
    let mut wanted: Vec<f64> = blocks
        .iter()
        .flat_map(|&(count, first)| (0..count).map(move |place| first + gap * place as f64))
        .collect();
    let mut most = bottom;
    for height in wanted.iter_mut().rev() {
        *height = height.min(most);
        most = *height - gap;
    }
    let mut least = top;
    for height in &mut wanted {
        *height = height.max(least);
        least = *height + gap;
    }
    let mut placed = vec![0.0; heights.len()];
    order.iter().zip(wanted).for_each(|(&at, height)| placed[at] = height);
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_distance_and_stay_near() {
        assert_eq!(spread_apart(&[50.0, 20.0], 10.0, 0.0, 100.0), [50.0, 20.0]);
        assert_eq!(spread_apart(&[52.0, 50.0, 51.0], 10.0, 0.0, 100.0), [61.0, 41.0, 51.0]);
        assert_eq!(spread_apart(&[1.0, 1.0, 40.0], 10.0, 0.0, 100.0), [0.0, 10.0, 40.0]);
        assert_eq!(spread_apart(&[99.0, 99.0], 10.0, 0.0, 100.0), [90.0, 100.0]);
        assert!(spread_apart(&[], 10.0, 0.0, 100.0).is_empty());
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b>&\"'\n"), "a&lt;b&gt;&amp;&quot;&#39; ");
    }
}
