//! Who asks.
//!
//! The service checks nobody's password. A gateway in front of it does, and says in `X-Tenant-Id` and
//! `X-User-Id` whom it let in; it also removes what clients send under these names. Only who connects
//! from one of `service.gateways` is believed; anybody else is an address, whatever the headers say.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode};

use super::app::App;
use super::error::ApiError;
use super::settings::ServiceSettings;

const TENANT: &str = "x-tenant-id";
const USER: &str = "x-user-id";

/// The caller of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// Number of the tenant, from 1 on; it need not exist.
    pub(super) tenant: Option<i64>,
    /// Name of the user within the tenant: letters, digits and `._@-`.
    pub(super) user: Option<String>,
    address: Option<IpAddr>,
}

/// The tenant to whose data a request is limited; `None` for who has no tenant, and for the admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope(pub(super) Option<i64>);

impl Scope {
    /// The tenant to read, where the request named `given`, or none: the caller's own. Another's is not
    /// there.
    pub(super) fn read(self, given: Option<i64>) -> Result<Option<i64>, ApiError> {
        self.only(given)
            .ok_or_else(|| ApiError::not_found("tenant"))
    }

    /// The tenant to change, in the same way. Who wants to change another's is told so; `field` is what
    /// names it.
    pub(super) fn write(self, field: &str, given: Option<i64>) -> Result<Option<i64>, String> {
        self.only(given)
            .ok_or_else(|| format!("`{field}` is another than the caller's"))
    }

    /// Whether what belongs to this tenant is there for the caller.
    pub(super) fn has(self, tenant: Option<i64>) -> bool {
        self.0.is_none() || self.0 == tenant
    }

    fn only(self, given: Option<i64>) -> Option<Option<i64>> {
        let is_own = given.is_none() || self.has(given);
        is_own.then(|| self.0.or(given))
    }
}

impl FromRequestParts<Arc<App>> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let admin = app.admin.as_ref();
        let is_admin = admin.is_some_and(|token| token.is_shown(&parts.headers));
        Ok(Self(caller.tenant.filter(|_| !is_admin)))
    }
}

impl Caller {
    /// Who asks, as far as the headers and the connection say.
    pub(super) fn of(
        headers: &HeaderMap,
        extensions: &Extensions,
        settings: &ServiceSettings,
    ) -> Result<Self, ApiError> {
        let mut caller = Self::by_address(extensions);
        if is_gateway(extensions, settings) {
            let max = settings.user_id_max_bytes;
            caller.tenant = only(headers, TENANT, "a whole number from 1 on", tenant)?;
            let rule = format!("1 to {max} letters, digits and ._@-");
            caller.user = only(headers, USER, &rule, |text| user(text, max))?;
        }
        Ok(caller)
    }

    /// Who asks, whatever the headers say.
    pub(super) fn by_address(extensions: &Extensions) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        Self {
            tenant: None,
            user: None,
            address: peer.map(|ConnectInfo(address)| network(address.ip())),
        }
    }

    /// Whether what belongs to this tenant may be shown to the caller: to another tenant it is not there.
    /// Whom no gateway named is asked nothing, as everywhere in this service.
    pub(super) fn may_see(&self, tenant: i64) -> bool {
        self.tenant.is_none_or(|own| own == tenant)
    }

    /// One text for each user of each tenant, and for each address of those without a name: behind a
    /// gateway, for each tenant on it.
    pub(super) fn key(&self) -> String {
        match (&self.user, self.tenant, self.address) {
            (Some(user), Some(tenant), _) => format!("{tenant}/{user}"),
            (Some(user), None, _) => format!("/{user}"),
            (None, Some(tenant), Some(address)) => format!("{tenant} from {address}"),
            (None, None, Some(address)) => format!("from {address}"),
            (None, _, None) => "from anywhere".to_owned(),
        }
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        Self::of(&parts.headers, &parts.extensions, &app.settings.service)
    }
}

/// Whether the request comes from a peer that may say who asks.
fn is_gateway(extensions: &Extensions, settings: &ServiceSettings) -> bool {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip().to_canonical());
    let mut gateways = settings.gateways.iter();
    gateways.any(|gateway| Some(gateway.to_canonical()) == peer)
}

/// What a header that is there at most once says.
fn only<T>(
    headers: &HeaderMap,
    name: &str,
    rule: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let read = value.to_str().ok().and_then(read);
    if read.is_none() || values.next().is_some() {
        let message = format!("the header `{name}` must be given once, with {rule}");
        let status = StatusCode::BAD_REQUEST;
        return Err(ApiError::client(status, "invalid_caller", message));
    }
    Ok(read)
}

fn tenant(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number >= 1);
    number.filter(|_| digits)
}

fn user(text: &str, max_bytes: usize) -> Option<String> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    let fits = (1..=max_bytes).contains(&text.len()) && text.bytes().all(may);
    fits.then(|| text.to_owned())
}

/// The address that one subscriber has: of IPv6 the first 64 bits, since a subscriber has all the rest
/// (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn behind(gateway: &str) -> ServiceSettings {
        ServiceSettings {
            gateways: vec![gateway.parse().unwrap()],
            ..ServiceSettings::default()
        }
    }

    fn key(
        given: &[(&'static str, &str)],
        peer: &str,
        settings: &ServiceSettings,
    ) -> Result<String, ApiError> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut extensions = Extensions::new();
        let address = SocketAddr::new(peer.parse().unwrap(), 1234);
        extensions.insert(ConnectInfo(address));
        Caller::of(&headers, &extensions, settings).map(|caller| caller.key())
    }

    #[test]
    fn a_caller_is_a_user_of_a_tenant_or_an_address() {
        let settings = behind("10.0.0.1");
        let check = |given: &[(&'static str, &str)], peer: &str, expected: &str| {
            assert_eq!(key(given, peer, &settings).unwrap(), expected);
        };
        check(&[(TENANT, "7"), (USER, "a.b@c")], "10.0.0.1", "7/a.b@c");
        check(&[(USER, "ada")], "10.0.0.1", "/ada");
        // Machines of several tenants behind one gateway.
        check(&[(TENANT, "7")], "10.0.0.1", "7 from 10.0.0.1");
        check(&[(TENANT, "8")], "::ffff:10.0.0.1", "8 from 10.0.0.1");
        check(&[], "::ffff:10.0.0.1", "from 10.0.0.1");
        // One subscriber, however many addresses it makes up.
        check(&[], "2001:db8:1:2:3:4:5:6", "from 2001:db8:1:2::");
        check(&[], "2001:db8:1:2:ffff::1", "from 2001:db8:1:2::");
    }

    #[test]
    fn who_is_no_gateway_is_an_address() {
        let given = [(TENANT, "7"), (USER, "ada")];
        let check = |settings: &ServiceSettings, peer: &str, expected: &str| {
            assert_eq!(key(&given, peer, settings).unwrap(), expected, "{peer}");
        };
        // As it comes, only this machine itself is believed.
        let settings = ServiceSettings::default();
        check(&settings, "10.0.0.1", "from 10.0.0.1");
        check(&settings, "2001:db8::1", "from 2001:db8::");
        check(&settings, "127.0.0.1", "7/ada");
        check(&settings, "::ffff:127.0.0.1", "7/ada");
        check(&settings, "::1", "7/ada");
        let settings = behind("10.0.0.1");
        check(&settings, "10.0.0.1", "7/ada");
        check(&settings, "10.0.0.2", "from 10.0.0.2");
        check(&settings, "127.0.0.1", "from 127.0.0.1");
        // Nonsense of somebody who is not believed is nobody's concern.
        let nonsense = key(&[(TENANT, "0")], "10.0.0.2", &settings);
        assert_eq!(nonsense.unwrap(), "from 10.0.0.2");
    }

    #[test]
    fn a_tenant_sees_its_own_and_who_has_none_sees_all() {
        let of = |tenant| Caller {
            tenant,
            user: None,
            address: None,
        };
        assert!(of(Some(7)).may_see(7));
        assert!(!of(Some(7)).may_see(8));
        assert!(of(None).may_see(7));
    }

    #[test]
    fn a_scope_is_what_the_caller_has_or_names() {
        let check = |own, given, expected: Option<Option<i64>>| {
            assert_eq!(Scope(own).read(given).ok(), expected);
            assert_eq!(Scope(own).write("tenant", given).ok(), expected);
        };
        check(None, None, Some(None));
        check(None, Some(8), Some(Some(8)));
        check(Some(7), None, Some(Some(7)));
        check(Some(7), Some(7), Some(Some(7)));
        check(Some(7), Some(8), None);
        assert!(Scope(Some(7)).has(Some(7)) && Scope(None).has(Some(7)) && Scope(None).has(None));
        // What is nobody's, or of all together, is no tenant's.
        assert!(!Scope(Some(7)).has(Some(8)) && !Scope(Some(7)).has(None));
    }

    #[test]
    fn what_no_gateway_says_is_refused() {
        let settings = behind("10.0.0.1");
        let long = "x".repeat(65);
        for wrong in [
            &[(TENANT, "0")][..],
            &[(TENANT, "-1")],
            &[(TENANT, "+1")],
            &[(TENANT, "9223372036854775808")],
            &[(TENANT, "one")],
            &[(TENANT, "")],
            &[(TENANT, "1"), (TENANT, "1")],
            &[(USER, "")],
            &[(USER, "a b")],
            &[(USER, "a/b")],
            &[(USER, &long)],
            &[(USER, "a"), (USER, "b")],
        ] {
            assert!(key(wrong, "10.0.0.1", &settings).is_err(), "{wrong:?}");
        }
    }
}
