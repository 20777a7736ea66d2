//! Pages for people: one file that needs nothing else, to be looked at, sent around and kept.
//!
//! `scale`, `plot` and `compare` draw; what a page says is its task's.

pub mod compare;
pub mod plot;
mod scale;

pub use scale::Scale;

const STYLE: &str = include_str!("page.css");

/// The page has this many colours for series; more series than that share them.
pub const COLORS: usize = 6;

/// A whole page around the parts of its body.
pub fn document(title: &str, body: &[String]) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        escape(title),
        body.concat()
    )
}

/// A plot with its title and what to see in it.
pub fn figure(title: &str, caption: &str, plot: &str) -> String {
    let (title, caption) = (escape(title), escape(caption));
    format!("<figure class=\"card\">\n<figcaption><b>{title}</b> {caption}</figcaption>\n{plot}</figure>\n")
}

/// Text, made safe for both element content and attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_text_stays_text() {
        assert_eq!(escape("<b> & \"it's\""), "&lt;b&gt; &amp; &quot;it&#39;s&quot;");
    }
}
