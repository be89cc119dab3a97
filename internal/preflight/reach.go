package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Step is the step in which a connection failed. The failures of a TLS handshake are several
// steps, because each needs another cure.
type Step int

// The steps, in the order in which a connection takes them.
const (
	Resolve   Step = iota // the name has no address
	Connect               // nobody listens at the address, or nothing answers
	Untrusted             // TLS: the authority that signed the certificate is not trusted
	Expired               // TLS: the certificate has expired, or is not valid yet
	OtherHost             // TLS: the certificate belongs to another host
	Handshake             // TLS: any other failure, for example because the server does not speak TLS
)

// ReachError says in which step a connection failed, and why.
type ReachError struct {
	Step Step
	Err  error
}

// Error returns the cause, which names the address.
func (f *ReachError) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *ReachError) Unwrap() error { return f.Err }

// Reach resolves the host in address, which is host:port, connects to it and closes the
// connection. If config is not nil, it also makes a TLS handshake. It returns a description of
// what it reached. The error is a *ReachError. Reach does not change config.
func Reach(ctx context.Context, address string, config *tls.Config) (reached string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		step := Connect
		if errors.As(err, new(*net.DNSError)) {
			step = Resolve
		}
		return "", &ReachError{step, err}
	}
	defer func() { _ = conn.Close() }() // Reach has sent nothing, so no data can be lost
	reached = "connected to " + address
	if remote := conn.RemoteAddr().String(); remote != address {
		reached += " (" + remote + ")"
	}
	if config == nil {
		return reached, nil
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address) // no error, because the address was dialed
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return "", handshakeError(ctx, address, err)
	}
	return reached + ", " + describeTLS(secured.ConnectionState()), nil
}

func handshakeError(ctx context.Context, address string, err error) *ReachError {
	var invalid x509.CertificateInvalidError
	step := Handshake
	switch {
	case ctx.Err() != nil:
		err = errors.New("no answer to the handshake within the time limit")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		step = Expired
	case errors.As(err, new(x509.HostnameError)):
		step = OtherHost
	case errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.SystemRootsError)), errors.As(err, new(*tls.CertificateVerificationError)):
		step = Untrusted
	case errors.Is(err, io.EOF):
		err = errors.New("the connection was closed during the handshake")
	}
	return &ReachError{step, fmt.Errorf("TLS with %s: %w", address, err)}
}

func describeTLS(state tls.ConnectionState) string {
	text := tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		text += ", certificate valid until " + state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)
	}
	return text
}
