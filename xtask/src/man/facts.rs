//! What the man pages say beyond a command's own help: exit codes, variables, files.

/// For every command.
const ALL: &[&str] = &[];

/// Something that some commands have, with what it means.
pub struct Fact {
    pub what: &'static str,
    pub words: &'static str,
    /// Which commands have it; none named: all.
    commands: &'static [&'static str],
}

impl Fact {
    /// Whether it belongs on the page of this command; all of them are on the page of the whole program (`None`).
    pub fn is_of(&self, command: Option<&str>) -> bool {
        self.commands.is_empty() || command.is_none_or(|command| self.commands.contains(&command))
    }
}

const fn fact(what: &'static str, words: &'static str, commands: &'static [&'static str]) -> Fact {
    Fact { what, words, commands }
}

pub const EXIT_CODES: [Fact; 15] = [
    fact("0", "It did what it was asked.", ALL),
    fact("1", "Something went wrong.", ALL),
    fact("2", "The lock is held or frozen, or the wait for it took too long.", &["guard", "lock", "freeze"]),
    fact("2", "why: something is in the way, and the answer says what.", &["why"]),
    fact(
        "2",
        "The lock directory was not to be had in time: another process is in the middle of a change.",
        &["unlock", "renew", "unfreeze"],
    ),
    fact("3", "There is no such lock, or freeze.", &["unlock", "renew", "status", "unfreeze"]),
    fact("3", "exists: the lock is not held.", &["exists"]),
    fact("4", "The lock is another's.", &["unlock", "renew", "unfreeze"]),
    fact("5", "The lock was lost, and the command was ended.", &["guard"]),
    fact("64", "The arguments make no sense.", ALL),
    fact("126", "The command is not executable.", &["guard"]),
    fact("127", "The command was not found.", &["guard"]),
    fact("128+n", "Signal n ended the command, or the wait for the lock.", &["guard", "lock"]),
    fact("128+n", "Signal n ended what would go on without end.", &["status", "audit", "demo"]),
    fact("any other", "The guarded command's own.", &["guard"]),
];

pub const VARIABLES: [Fact; 18] = [
    fact(
        "LOKT_ROOT",
        "The lock directory. Without it, it belongs to the git repository around the working directory, and is else ./.lokt. \
         With etcd://HOST[:PORT][,HOST...]/PREFIX the locks are on an etcd cluster; etcds:// is etcd over TLS.",
        ALL,
    ),
    fact(
        "GIT_DIR, GIT_COMMON_DIR",
        "Without LOKT_ROOT they lead to the git repository, as they lead git itself.",
        ALL,
    ),
    fact(
        "ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER, ETCDCTL_PASSWORD",
        "What lets one in to an etcd cluster, as etcdctl reads it. ETCDCTL_INSECURE_SKIP_TLS_VERIFY is refused: whoever is \
         in between could hand out any lock.",
        ALL,
    ),
    fact(
        "XDG_RUNTIME_DIR",
        "With an etcd cluster the files of this machine's sessions are in $XDG_RUNTIME_DIR/lokt; without it in /tmp/lokt-UID.",
        ALL,
    ),
    fact("LOKT_OWNER", "The name that locks are taken in, instead of the user's.", ALL),
    fact("USER, LOGNAME", "The user's name, if it is not in /etc/passwd.", ALL),
    fact("LOKT_AGENT_ID", "The name of the agent that acts for the owner.", ALL),
    fact(
        "LOKT_NO_SWEEP",
        "If it is set, dead locks are not cleared away in passing.",
        &["guard", "lock", "unlock", "freeze", "unfreeze", "status"],
    ),
    fact(
        "LOKT_AUDIT_MAX_BYTES",
        "How large the audit log may become, all its files together: 64 MiB without it. 0 keeps everything.",
        ALL,
    ),
    fact("NO_COLOR", "If it is set, nothing is coloured.", ALL),
    fact("TERM", "Where it is dumb, nothing is coloured or drawn in place.", ALL),
    fact("PATH", "Where the command is looked for.", &["guard"]),
    fact(
        "LOKT_NAME",
        "Set for the guarded command: the lock's name; of several, the first that was given.",
        &["guard"],
    ),
    fact("LOKT_LOCK_ID", "Set for the guarded command: the identity of this admission.", &["guard"]),
    fact(
        "LOKT_TOKEN",
        "Set for the guarded command: a number that rises with each holder of the name, for resources that can refuse a late writer.",
        &["guard"],
    ),
    fact(
        "LOKT_TOKENS",
        "Set for the guarded command: NAME:TOKEN for each lock that it runs under, those of outer guards too, separated by spaces.",
        &["guard"],
    ),
    fact(
        "LOKT_SLOT",
        "Set for the guarded command with --slots: which slot it has, from 1; of several names, that of the first.",
        &["guard"],
    ),
    fact(
        "LOKT_COMMIT, SOURCE_DATE_EPOCH",
        "Read when lokt is built, not when it runs: what --version says where there is no repository.",
        &["lokt"],
    ),
];

pub const FILES: [Fact; 4] = [
    fact("$LOKT_ROOT/locks/NAME.json", "The record of a lock that is held.", ALL),
    fact("$LOKT_ROOT/freezes/NAME.json", "A freeze.", ALL),
    fact(
        "$LOKT_ROOT/audit.log, audit.log.1 to audit.log.3",
        "What happened, a line of JSON each, the latest in the first.",
        ALL,
    ),
    fact(
        "$LOKT_ROOT/{stripes,sessions,lines,holders}",
        "Mutexes, and what tells the living from the dead. Nothing to edit.",
        ALL,
    ),
];
