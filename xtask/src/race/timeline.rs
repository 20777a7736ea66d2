//! A failed run for people: why, who did what when, what was kept, and how to run it again.

use super::plan::Plan;
use super::results::{Moment, Run};

pub fn of_failed(run: &Run, plan: &Plan) -> String {
    let mut text = format!("FAILED  TTL {}, run {}\n", run.ttl, run.run);
    text += &format!("  why    {}\n", run.failure.as_deref().unwrap_or("it did not say"));
    if let Some(sandbox) = &run.sandbox {
        text += &format!("  kept   {sandbox}\n");
    }
    text += &format!("  again  {}\n", plan.again(&run.id()));
    if !run.timeline.is_empty() {
        text += "\n";
        text += &indented(&moments(&run.timeline));
    }
    if let Some(output) = &run.output {
        text += "\n  the end of its output:\n";
        text += &indented(output);
    }
    text
}

/// Who did what when, in columns.
fn moments(timeline: &[Moment]) -> String {
    let widest =
        |column: fn(&Moment) -> String| timeline.iter().map(|m| column(m).chars().count()).max().unwrap_or(0);
    let at_width = widest(at);
    let who_width = widest(|moment| moment.who.clone());
    let line = |m: &Moment| format!("{:>at_width$}  {:<who_width$}  {}\n", at(m), m.who, m.what);
    timeline.iter().map(line).collect()
}

pub fn at(moment: &Moment) -> String {
    format!("{:.3} ms", moment.at_ms)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_stand_in_columns() {
        let moment =
            |at_ms, who: &str, what: &str| Moment { at_ms, who: who.to_owned(), what: what.to_owned() };
        let text = moments(&[moment(0.0, "holder", "acquired"), moment(1_000.25, "contender 12", "refused")]);
        assert_eq!(text, "   0.000 ms  holder        acquired\n1000.250 ms  contender 12  refused\n");
    }
}
