package genesys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
)

// connectionCure says what to check if a request got no answer. It is empty if the
// error does not point to a setting, as when the network is down. setting is the
// one that names the host.
func connectionCure(err error, setting string) string {
	switch {
	case proxyFailed(err):
		return "check the proxy in HTTPS_PROXY and HTTP_PROXY, or name the host in NO_PROXY to connect without it"
	case errors.As(err, new(*net.DNSError)):
		return "check the host in " + setting + " (it must be that of your region, such as api.mypurecloud.ie or api.usw2.pure.cloud) and this machine's DNS"
	case errors.As(err, new(x509.HostnameError)):
		return "the certificate belongs to another host: check the host in " + setting + " (it must be that of your region), and whether a proxy is in between"
	case errors.As(err, new(x509.CertificateInvalidError)):
		return "check this machine's clock, and whether a proxy is in between; if so, name the file of the proxy's CA in SSL_CERT_FILE. The host comes from " + setting
	case untrusted(err):
		return "add the CA of the proxy in between to the system's roots, or name its file in SSL_CERT_FILE; check the host in " + setting + " (it must be that of your region)"
	case noTLS(err):
		return "check scheme, host and port in " + setting + " (they must be those of your region), and whether a proxy is in between"
	}
	return ""
}

// proxyFailed reports whether the connection to the proxy failed. net/http names
// that operation "proxyconnect".
func proxyFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "proxyconnect"
}

// untrusted reports whether no trusted CA signed the server's certificate.
func untrusted(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.SystemRootsError))
}

// noTLS reports whether the server does not speak TLS, or no version of it that we
// accept.
func noTLS(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, new(tls.RecordHeaderError)) || errors.As(err, new(tls.AlertError))
}
