//! The commands of `docs/agents.md` do what it says, one block after the other in one project.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lokt_tests::sandbox::output;

use super::transcript::sandbox;

#[test]
fn the_commands_of_the_page_for_agents_work() {
    let sandbox = sandbox();
    let bin = sandbox.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_lokt-under-test"), bin.join("lokt")).unwrap();
    for stub in [bin.join("make"), sandbox.work().join("train.sh")] {
        fs::write(&stub, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agents.md")).unwrap();
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 8, "the page shows commands");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for block in blocks {
        let block =
            block.replace("/tmp/team-locks", &sandbox.path().join("team-locks").display().to_string());
        let ran = output(sandbox.command("sh").args(["-ec", &block]).env("PATH", &path));
        assert_eq!(ran.code, 0, "{block}\n{ran:?}");
    }
    let told = fs::read_to_string(sandbox.work().join("CLAUDE.md")).unwrap();
    assert!(told.contains("| `push` | `./scripts/push.sh` |"), "{told}");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
