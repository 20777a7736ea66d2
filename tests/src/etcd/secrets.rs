//! Certificates for a cluster that speaks TLS, made for it alone.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use lokt::store::etcd::Access;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// The files of a CA, and of one certificate that it vouches for: for the member as well as for its client.
pub struct Secrets {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Secrets {
    pub fn make(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("a directory for certificates");
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::new(Vec::new()).expect("a CA's certificate");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_text = ca.self_signed(&ca_key).expect("a CA's certificate").pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate().expect("a key");
        let mut one = CertificateParams::new(Vec::new()).expect("a certificate");
        one.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        // The gateway is a client of its own member, and shows it the member's certificate.
        one.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = one.signed_by(&key, &issuer).expect("a certificate").pem();

        let write = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).expect("a file of TLS");
            path
        };
        Self {
            ca: write("ca.pem", ca_text),
            cert: write("cert.pem", cert),
            key: write("key.pem", key.serialize_pem()),
        }
    }

    /// What the member is started with.
    pub fn flags(&self, client_certificates: bool) -> Vec<String> {
        let path = |path: &PathBuf| path.display().to_string();
        let mut flags = vec!["--cert-file".into(), path(&self.cert), "--key-file".into(), path(&self.key)];
        if client_certificates {
            flags.extend(["--client-cert-auth".into(), "--trusted-ca-file".into(), path(&self.ca)]);
        }
        flags
    }

    pub fn access(&self) -> Access {
        Access {
            ca: Some(self.ca.clone()),
            cert: Some(self.cert.clone()),
            key: Some(self.key.clone()),
            user: None,
        }
    }
}
