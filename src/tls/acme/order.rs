//! One order: from an account to a certificate (RFC 8555 §7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, KeyAuthorization, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;

use super::challenges::Challenges;
use super::hook::{self, Action, Record};
use super::trouble::Trouble;
use super::{Config, Method};

/// How a decision of the server is waited for.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.4).timeout(Duration::from_secs(180));

/// What an order is made with.
pub(super) struct Orders<'a> {
    pub(super) config: &'a Config,
    pub(super) challenges: &'a Challenges,
    pub(super) provider: &'a CryptoProvider,
}

impl Orders<'_> {
    /// Orders a certificate, and gives its chain and key in PEM. `replaces` is told to servers that want to know
    /// (RFC 9773 §5).
    pub(super) async fn obtain(
        &self,
        account: &Account,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<String, Trouble> {
        let names: Vec<_> = self.config.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = begin(account, &names, replaces).await?;
        self.bring_about(&mut order).await.map_err(Trouble::of_an_order)
    }

    /// From an order to its certificate.
    async fn bring_about(&self, order: &mut Order) -> Result<String, Trouble> {
        let mut prepared = Prepared { challenges: self.challenges.clone(), records: Vec::new() };
        let confirmed = self.confirm(order, &mut prepared).await;
        self.clean_up(prepared).await;
        confirmed?;
        self.finish(order).await
    }

    /// Shows the server that the names are ours.
    async fn confirm(&self, order: &mut Order, prepared: &mut Prepared) -> Result<(), Trouble> {
        if order.state().status == OrderStatus::Ready {
            return Ok(());
        }
        if self.prepare(order, prepared).await? {
            if !prepared.records.is_empty() {
                tokio::time::sleep(self.config.wait).await;
            }
            self.say_ready(order).await?;
        }
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.why_not(order, None).await),
            Err(Error::Api(problem)) => Err(self.why_not(order, problem.detail).await),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts in place what the server will ask for; whether there is anything.
    async fn prepare(&self, order: &mut Order, prepared: &mut Prepared) -> Result<bool, Trouble> {
        let mut authorizations = order.authorizations();
        let mut any = false;
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                // Of an earlier order.
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => return Err(Trouble::Refused(format!("the authorization of {name} is {status:?}"))),
            }
            let challenge = authorization.challenge(self.challenge()).ok_or(Trouble::NotOffered(name.clone()))?;
            let (key, bare) = (challenge.key_authorization(), name.trim_start_matches("*."));
            match self.config.method {
                Method::Http01 => self.challenges.expect_token(challenge.token.clone(), key.as_str().to_owned()),
                Method::TlsAlpn01 => {
                    let certificate = proof(bare, &key, self.provider);
                    let certificate = certificate.map_err(|error| Trouble::NotMade(error.to_string()))?;
                    self.challenges.expect_name(bare, certificate);
                }
                Method::Dns01 => self.present(Record::new(bare, key.dns_value()), prepared).await?,
            }
            any = true;
        }
        Ok(any)
    }

    async fn present(&self, record: Record, prepared: &mut Prepared) -> Result<(), Trouble> {
        let Some(program) = &self.config.hook else { return Ok(()) };
        // Also what it could not quite set is removed.
        prepared.records.push(record.clone());
        hook::run(program, Action::Present, &record).await.map_err(|words| Trouble::Hook(record.name, words))
    }

    async fn say_ready(&self, order: &mut Order) -> Result<(), Trouble> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let mut challenge = authorization.challenge(self.challenge()).ok_or(Trouble::NotOffered(name))?;
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// Which name was not confirmed, in the server's words. `said` is what it said of the order as a whole.
    async fn why_not(&self, order: &mut Order, said: Option<String>) -> Trouble {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                break;
            }
            let name = authorization.identifier().to_string();
            let error = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(error) = error {
                return Trouble::NotConfirmed(name, error.detail.clone().unwrap_or_default());
            }
        }
        Trouble::Refused(said.unwrap_or_else(|| "the order is invalid".into()))
    }

    /// Removes what was set, whatever came of it.
    async fn clean_up(&self, prepared: Prepared) {
        let Some(program) = &self.config.hook else { return };
        for record in &prepared.records {
            if let Err(err) = hook::run(program, Action::Cleanup, record).await {
                tracing::warn!(err, "the hook of [acme] left the record {} behind", record.name);
            }
        }
    }

    /// Has it issued (RFC 8555 §7.4), for a key that is made for it.
    async fn finish(&self, order: &mut Order) -> Result<String, Trouble> {
        let made = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let mut params = CertificateParams::new(self.config.names.clone())?;
            params.distinguished_name = DistinguishedName::new();
            let request = params.serialize_request(&key)?;
            Ok((key, request))
        };
        let (key, request) = made().map_err(|error| Trouble::NotMade(error.to_string()))?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(format!("{}\n{}", chain.trim_end(), key.serialize_pem()))
    }

    fn challenge(&self) -> ChallengeType {
        match self.config.method {
            Method::Http01 => ChallengeType::Http01,
            Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Method::Dns01 => ChallengeType::Dns01,
        }
    }
}

async fn begin(
    account: &Account,
    names: &[Identifier],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Trouble> {
    if let Some(replaced) = replaces {
        match account.new_order(&NewOrder::new(names).replaces(replaced)).await {
            // Whatever the server holds against what it is told is replaced, it is an order without that.
            Err(Error::Api(problem)) if !is(&problem, NO_ACCOUNT) && !is(&problem, RATE_LIMITED) => {
                tracing::debug!(%problem, "ordered without `replaces`")
            }
            Err(Error::Unsupported(_)) => {}
            other => return Ok(other?),
        }
    }
    Ok(account.new_order(&NewOrder::new(names)).await?)
}

/// What is in place for the server to ask for. Dropped, it answers no longer.
struct Prepared {
    challenges: Challenges,
    records: Vec<Record>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.challenges.forget();
    }
}

/// What TLS-ALPN-01 shows (RFC 8737 §3): a certificate for that one name with the digest in it, signed by its own key.
fn proof(
    name: &str,
    key: &KeyAuthorization,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Box<dyn std::error::Error>> {
    let own = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(key.digest().as_ref())];
    let certificate = params.self_signed(&own)?;
    let own = PrivateKeyDer::try_from(own.serialize_der())?;
    // Nobody but an ACME server knows what is critical in it, so it cannot be looked at as other certificates are.
    let own = provider.key_provider.load_private_key(own)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], own)))
}

/// RFC 8555 §6.7.
const NO_ACCOUNT: &str = "accountDoesNotExist";
const RATE_LIMITED: &str = "rateLimited";

fn is(problem: &instant_acme::Problem, word: &str) -> bool {
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:")) == Some(word)
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) if is(&problem, NO_ACCOUNT) => Self::NoAccount,
            Error::Api(problem) => {
                let details = problem.subproblems.into_iter().filter_map(|sub| sub.detail);
                let said: Vec<_> = problem.detail.into_iter().chain(details).collect();
                Self::Refused(if said.is_empty() { problem.r#type.unwrap_or_default() } else { said.join(" ") })
            }
            Error::Timeout(_) => Self::TooLong,
            other => Self::Unreachable(other.to_string()),
        }
    }
}
