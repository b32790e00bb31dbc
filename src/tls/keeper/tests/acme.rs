//! Which certificate a connection gets where there are public names.

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn key(name: &str) -> Arc<CertifiedKey> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.der().clone()];
    Arc::new(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap())
}

/// The certificate and the protocol that a client gets that offers those.
async fn offered(keeper: &Keeper, name: &str, protocols: &[&[u8]]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let (client, server) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(keeper.server().unwrap());
    let serving = tokio::spawn(async move { acceptor.accept(server).await });
    let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let config = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let mut config = config.with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), client).await.ok()?;
    let connection = stream.get_ref().1;
    let certificate = connection.peer_certificates()?.first()?.to_vec();
    let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
    serving.await.unwrap().ok()?;
    Some((certificate, protocol))
}

#[tokio::test]
async fn whoever_offers_acme_alone_gets_the_challenge_and_nothing_else() {
    let home = Home::new();
    let (keeper, _) = home.start(home.config());
    let [public, proof] = [key("return.studio.test"), key("return.studio.test")];
    keeper.served.public(public.clone());
    let certificate = |key: &CertifiedKey| key.cert[0].to_vec();
    let name = "return.studio.test";
    assert_eq!(offered(&keeper, name, &[ACME_TLS]).await, None, "nobody waits for it");
    keeper.served.challenges().expect_name("Return.studio.test", proof.clone());
    assert_eq!(offered(&keeper, name, &[ACME_TLS]).await, Some((certificate(&proof), Some(ACME_TLS.to_vec()))));
    assert_eq!(offered(&keeper, "other.studio.test", &[ACME_TLS]).await, None);
    for protocols in [&[][..], &[&b"h2"[..]], &[ACME_TLS, b"h2"]] {
        let (served, protocol) = offered(&keeper, name, protocols).await.unwrap();
        assert_eq!(
            (served, protocol.as_deref()),
            (certificate(&public), (!protocols.is_empty()).then_some(&b"h2"[..]))
        );
    }
    keeper.served.challenges().forget();
    assert_eq!(offered(&keeper, name, &[ACME_TLS]).await, None);
}

#[tokio::test]
async fn a_public_certificate_is_served_under_its_names_unless_a_person_brought_one() {
    let home = Home::new();
    let (keeper, _) = home.start(home.config());
    let [public, brought] = [key("return.studio.test"), key("return.studio.test")];
    let served = async |name: &str| handshake(&keeper, name).await[0].to_vec();
    let own = served("return.studio.test").await;
    keeper.served.public(public.clone());
    assert_eq!(served("return.studio.test").await, public.cert[0].to_vec());
    for other in ["returnfeed.local", "192.168.1.20", "studio.test", "x.return.studio.test"] {
        assert_eq!(served(other).await, own, "{other}");
    }
    keeper.served.own(brought.clone());
    assert_eq!(served("return.studio.test").await, brought.cert[0].to_vec());
}
