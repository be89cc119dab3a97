package devstack

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// gatekeeper makes kfake refuse a wrong user or password as Kafka does, with
// SASL_AUTHENTICATION_FAILED: kfake itself only closes the connection, which a
// client takes for an outage. It learns the credentials from the requests that
// change them and leaves everything that is right to kfake.
//
// kfake runs its methods one at a time, so it has no lock.
type gatekeeper struct {
	cluster     *kfake.Cluster
	credentials map[string]credential // by user
	greetings   map[string]string     // the open handshakes: client-first-message-bare by client nonce
}

type credential struct{ salt, salted []byte }

func keepGate(cluster *kfake.Cluster) {
	g := &gatekeeper{cluster: cluster, credentials: make(map[string]credential), greetings: make(map[string]string)}
	cluster.ControlKey(kmsg.AlterUserSCRAMCredentials.Int16(), g.learn)
	cluster.ControlKey(kmsg.SASLAuthenticate.Int16(), g.authenticate)
}

func (g *gatekeeper) learn(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	if change, ok := req.(*kmsg.AlterUserSCRAMCredentialsRequest); ok {
		for _, u := range change.Upsertions {
			g.credentials[u.Name] = credential{bytes.Clone(u.Salt), bytes.Clone(u.SaltedPassword)}
		}
	}
	return nil, nil, false
}

func (g *gatekeeper) authenticate(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	auth, ok := req.(*kmsg.SASLAuthenticateRequest)
	if !ok || len(g.credentials) == 0 || g.admits(string(auth.SASLAuthBytes)) {
		return nil, nil, false
	}
	g.cluster.KeepControl()
	resp, ok := auth.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	if !ok {
		return nil, nil, false
	}
	resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
	resp.ErrorMessage = kmsg.StringPtr("Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512")
	return resp, nil, true
}

// admits reports whether a SCRAM message (RFC 5802, section 7) is no reason to
// refuse: the first of a known user, or the final with the right proof.
func (g *gatekeeper) admits(message string) bool {
	if bare, first := strings.CutPrefix(message, "n,,"); first {
		user, nonce, _ := strings.Cut(strings.TrimPrefix(bare, "n="), ",r=")
		g.greetings[nonce] = bare
		_, known := g.credentials[user]
		return known
	}
	unproven, proof, final := strings.Cut(message, ",p=")
	_, nonce, ok := strings.Cut(unproven, ",r=")
	if !final || !ok {
		return true // not SCRAM: kfake knows
	}
	for own, bare := range g.greetings {
		if strings.HasPrefix(nonce, own) {
			delete(g.greetings, own)
			user, _, _ := strings.Cut(strings.TrimPrefix(bare, "n="), ",r=")
			return g.credentials[user].proves(bare, nonce, unproven, proof)
		}
	}
	return true
}

// proves checks ClientProof of RFC 5802, section 3.
func (c credential) proves(bare, nonce, unproven, proof string) bool {
	serverFirst := fmt.Sprintf("r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(c.salt), scramRounds)
	clientKey := hmacSHA512(c.salted, "Client Key")
	storedKey := sha512.Sum512(clientKey)
	signature := hmacSHA512(storedKey[:], bare+","+serverFirst+","+unproven)
	want := make([]byte, len(clientKey))
	subtle.XORBytes(want, clientKey, signature)
	return hmac.Equal([]byte(base64.StdEncoding.EncodeToString(want)), []byte(proof))
}

func hmacSHA512(key []byte, text string) []byte {
	mac := hmac.New(sha512.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
