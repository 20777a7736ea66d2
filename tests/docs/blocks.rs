//! Every block of commands on every page runs, in an empty directory, in the order of the page.

use std::fs;

use lokt_tests::sandbox::{Output, Running, eventually, start};

use super::page::{Block, Page, pages, repository};
use super::places::Place;
use super::transcript::steady;

/// What the shell of a page knows: `lokt why` says with its code that something is in the way, which is no failure.
const PRELUDE: &str =
    r#"lokt() { command lokt "$@" || { code=$?; [ "$1$code" = why2 ] || return "$code"; }; }"#;

/// Programs that the pages speak of. `sleep` lasts until what is in the background is let go.
const PROGRAMS: [(&str, &str); 2] = [
    ("make", "#!/bin/sh\nexit 0\n"),
    (
        "sleep",
        "#!/bin/sh\ntouch \"$PLACE/sleeps\"\nwhile [ ! -e \"$PLACE/gate\" ]; do /bin/sleep 0.02; done\n",
    ),
];

/// Scripts that the pages run, unless they make them themselves.
const SCRIPTS: [&str; 5] = ["deploy.sh", "migrate.sh", "train.sh", "check.sh", "publish.sh"];

/// A page as it is read, from top to bottom.
struct Reader<'a> {
    page: &'a Page,
    place: Place,
    background: Vec<Running>,
    /// The last block that ran, and what it said.
    last: Option<Output>,
}

impl<'a> Reader<'a> {
    fn new(page: &'a Page) -> Self {
        let place = Place::new();
        PROGRAMS.iter().for_each(|(name, text)| place.program(name, text));
        SCRIPTS.iter().for_each(|name| place.script(name, "#!/bin/sh\nexit 0\n"));
        Self { page, place, background: Vec::new(), last: None }
    }

    fn start(&self, block: &Block) -> Running {
        let script = format!("{PRELUDE}\n{}", block.text);
        // The locks are where a newcomer finds them: in ./.lokt.
        start(self.place.command("sh").args(["-ec", &script]).env_remove("LOKT_ROOT"))
    }

    fn read(&mut self, block: &Block) {
        match (&*block.language, block.test()) {
            ("sh", "background") => self.put_in_background(block),
            ("sh", "elsewhere" | "set-up") => {}
            ("sh", "waits") => {
                let waiter = self.start(block);
                self.await_a_waiter(block);
                self.let_go();
                self.done(block, waiter, 0);
            }
            ("sh", note) => {
                let code = note.strip_prefix("exit ").map_or(0, |code| code.parse().unwrap());
                let running = self.start(block);
                self.done(block, running, code);
            }
            (_, "output") => self.compare(block),
            _ => {}
        }
    }

    fn done(&mut self, block: &Block, running: Running, code: i32) {
        let ran = running.output();
        assert_eq!(ran.code, code, "{}:{}: {}{ran:?}", self.page.name, block.line, block.text);
        self.last = Some(ran);
    }

    fn put_in_background(&mut self, block: &Block) {
        let sleeps = self.place.sandbox.path().join("sleeps");
        let _ = fs::remove_file(&sleeps);
        let _ = fs::remove_file(self.place.sandbox.path().join("gate"));
        self.background.push(self.start(block));
        eventually(&format!("the command of {}:{} runs", self.page.name, block.line), || sleeps.exists());
    }

    fn await_a_waiter(&self, block: &Block) {
        let lines = self.place.sandbox.work().join(".lokt/lines");
        eventually(&format!("{}:{} waits", self.page.name, block.line), || {
            let names = fs::read_dir(&lines).into_iter().flatten().flatten();
            names.flat_map(|name| fs::read_dir(name.path()).into_iter().flatten()).count() > 0
        });
    }

    fn let_go(&mut self) {
        self.place.open_gate();
        for running in std::mem::take(&mut self.background) {
            let _ = running.output();
        }
    }

    /// What the page shows is what was said, but for process ids, times and the host's name.
    fn compare(&self, block: &Block) {
        let Some(said) = &self.last else {
            return;
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let shown = steady(&block.text.replace("build-1", &host));
        let said = steady(&format!("{}{}", said.stdout, said.stderr));
        assert_eq!(shown.trim(), said.trim(), "{}:{}", self.page.name, block.line);
    }
}

fn read(page: &Page) -> usize {
    let blocks = page.blocks();
    let run: Vec<&Block> = blocks.iter().filter(|block| block.file().is_none()).collect();
    let mut reader = Reader::new(page);
    run.iter().for_each(|block| reader.read(block));
    reader.let_go();
    run.iter().filter(|block| block.language == "sh").count()
}

#[test]
fn the_commands_of_the_readme_work() {
    assert!(read(&Page::read("README.md")) >= 2, "the README shows commands");
}

#[test]
fn the_commands_of_the_quick_start_work() {
    assert!(read(&Page::read("docs/quick-start.md")) >= 8, "the quick start shows commands");
}

#[test]
fn the_commands_of_the_other_pages_work() {
    let others = pages();
    let others = others.iter().filter(|page| !["README.md", "docs/quick-start.md"].contains(&&*page.name));
    assert!(others.map(read).sum::<usize>() >= 3, "they show commands");
}

#[test]
fn what_a_page_shows_of_a_file_is_what_the_file_says() {
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks() {
            let Some(file) = block.file() else {
                continue;
            };
            let text = fs::read_to_string(repository().join("docs").join(file))
                .unwrap_or_else(|error| panic!("{}:{}: {file}: {error}", page.name, block.line));
            assert_eq!(block.text, text, "{}:{} shows {file}", page.name, block.line);
            seen += 1;
        }
    }
    assert!(seen > 10, "the pages show files");
}

/// `cargo xtask NAME` on any page is a task that there is.
#[test]
fn the_tasks_that_the_pages_speak_of_exist() {
    let tasks = fs::read_to_string(repository().join("xtask/src/main.rs")).unwrap();
    for page in pages() {
        for rest in page.text.split("cargo xtask ").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
            let known = tasks.contains(&format!("//! | `{name}` |"));
            assert!(known || name.is_empty(), "{} speaks of cargo xtask {name}", page.name);
        }
    }
}

/// What a page tells a newcomer to set up with is the project's own: this package, or a task that a job of the CI runs.
#[test]
fn what_a_page_sets_up_with_is_run_by_the_ci() {
    let matrix = fs::read_to_string(repository().join("ci/matrix.json")).unwrap();
    let mut seen = 0;
    for page in pages() {
        let blocks = page.blocks().into_iter().filter(|block| block.test() == "set-up");
        for line in blocks.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            let command = line.split('#').next().unwrap().trim();
            let by_ci = |task: &str| matrix.contains(&format!("\"kind\": \"{task}\""));
            let known = command == "cargo install --path lokt --locked"
                || command.strip_prefix("cargo xtask ").is_some_and(by_ci);
            assert!(known, "{}: no job of the CI runs {command}", page.name);
            seen += 1;
        }
    }
    assert!(seen >= 3, "the README says how to set up");
}
