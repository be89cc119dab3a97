package genesys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
)

// connectionCure says what to check when no answer came, where the error hints
// at more than a network that is down; empty otherwise. setting is the one that
// the host comes from.
func connectionCure(err error, setting string) string {
	switch {
	case throughProxy(err):
		return "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
	case errors.As(err, new(*net.DNSError)):
		return "check the host in " + setting + " (of your region, such as api.mypurecloud.ie or api.usw2.pure.cloud) and this machine's DNS"
	case errors.As(err, new(x509.HostnameError)):
		return "the certificate is another host's: check the host in " + setting + " (of your region), and for a proxy in between"
	case errors.As(err, new(x509.CertificateInvalidError)):
		return "check this machine's clock, and for a proxy in between; a proxy's CA is given by SSL_CERT_FILE. The host is that of " + setting
	case untrusted(err):
		return "add the CA of the proxy in between to the system's roots, or name its file in SSL_CERT_FILE; check the host in " + setting + " (of your region)"
	case noTLS(err):
		return "check scheme, host and port in " + setting + " (of your region), and for a proxy in between"
	}
	return ""
}

// throughProxy says whether it was the proxy that could not be reached
// (net/http names the operation so).
func throughProxy(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "proxyconnect"
}

func untrusted(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.SystemRootsError))
}

// noTLS says whether the other side speaks no TLS, or none that we accept.
func noTLS(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, new(tls.RecordHeaderError)) || errors.As(err, new(tls.AlertError))
}
