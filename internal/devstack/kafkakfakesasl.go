package devstack

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
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
// It also lets kfake accept the tokens of an endpoint, which it does not know:
// whoever shows one is let in by PLAIN, as one user.
//
// kfake runs its methods one at a time, so it has no lock.
type gatekeeper struct {
	cluster     *kfake.Cluster
	credentials map[string]credential // by user
	greetings   map[string]string     // the open handshakes: client-first-message-bare by client nonce

	tokens         *TokenEndpoint // nil: none is accepted
	bearerPassword string
}

// bearer is the user who has shown a token.
const bearer = "bearer"

type credential struct{ salt, salted []byte }

func newGatekeeper(tokens *TokenEndpoint) *gatekeeper {
	return &gatekeeper{credentials: make(map[string]credential), greetings: make(map[string]string), tokens: tokens, bearerPassword: rand.Text()}
}

func (g *gatekeeper) keep(cluster *kfake.Cluster) {
	g.cluster = cluster
	cluster.ControlKey(kmsg.AlterUserSCRAMCredentials.Int16(), g.learn)
	cluster.ControlKey(kmsg.SASLHandshake.Int16(), g.handshake)
	cluster.ControlKey(kmsg.SASLAuthenticate.Int16(), g.authenticate)
}

func (g *gatekeeper) handshake(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	if shake, ok := req.(*kmsg.SASLHandshakeRequest); ok && shake.Mechanism == "OAUTHBEARER" && g.tokens != nil {
		shake.Mechanism = "PLAIN"
	}
	return nil, nil, false
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
	if !ok {
		return nil, nil, false
	}
	mechanism := "SCRAM-SHA-512"
	if token, shown := bearerToken(string(auth.SASLAuthBytes)); shown {
		if mechanism = "OAUTHBEARER"; g.tokens != nil && g.tokens.accepts(token) {
			auth.SASLAuthBytes = []byte("\x00" + bearer + "\x00" + g.bearerPassword)
			return nil, nil, false
		}
	} else if len(g.credentials) == 0 || g.admits(string(auth.SASLAuthBytes)) {
		return nil, nil, false
	}
	g.cluster.KeepControl()
	resp, ok := auth.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	if !ok {
		return nil, nil, false
	}
	resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
	resp.ErrorMessage = new("Authentication failed during authentication due to invalid credentials with SASL mechanism " + mechanism)
	return resp, nil, true
}

// bearerToken reads the token of a client's first message (RFC 7628, section 3.1).
func bearerToken(message string) (token string, ok bool) {
	_, rest, ok := strings.Cut(message, "\x01auth=Bearer ")
	token, _, _ = strings.Cut(rest, "\x01")
	return token, ok
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
