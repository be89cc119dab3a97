package genesys

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// refreshEarly is how long before its expiry a token is replaced.
	refreshEarly = 5 * time.Minute
	// assumedLifetime is the lifetime of a token if its answer has no expires_in. It
	// is the shortest that Genesys Cloud allows for an OAuth client.
	assumedLifetime = 5 * time.Minute
)

// cachedToken is a token and the time after which it is no longer used.
type cachedToken struct {
	token *oauth2.Token
	until time.Time
}

// token returns the cached token, or waits for a new one. Concurrent callers share
// one request and its result. They share its failure too, because otherwise each of
// them would repeat a request that was rejected. fresh reports whether the token was
// issued during this call.
func (c *Client) token(ctx context.Context) (token *oauth2.Token, fresh bool, err error) {
	if token := c.validToken(); token != nil {
		return token, false, nil
	}
	// The request must not end with the context of the caller who began it, because
	// others may wait for its result. send bounds it.
	detached := context.WithoutCancel(ctx)
	shared := c.flight.DoChan("token", func() (any, error) {
		if token := c.validToken(); token != nil {
			return token, nil
		}
		return c.refresh(detached)
	})
	select {
	case <-ctx.Done():
		return nil, false, fmt.Errorf("genesys: %s: %w", requestName(http.MethodPost, c.urls.token), context.Cause(ctx))
	case result := <-shared:
		if result.Err != nil {
			return nil, false, result.Err
		}
		return result.Val.(*oauth2.Token), true, nil
	}
}

// validToken returns the cached token, or nil if there is none or its time is over.
func (c *Client) validToken() *oauth2.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cached.token == nil || !time.Now().Before(c.cached.until) {
		return nil
	}
	return c.cached.token
}

// forget drops a token that the API rejected, unless a newer one has replaced it.
func (c *Client) forget(token *oauth2.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cached.token == token {
		c.cached = cachedToken{}
	}
}

// refresh requests a new token and caches it.
func (c *Client) refresh(ctx context.Context) (*oauth2.Token, error) {
	request := requestName(http.MethodPost, c.urls.token)
	var token *oauth2.Token
	var tokenErr error
	about := requestInfo{name: request, hostSetting: c.urls.tokenSetting, redact: c.redactor()}
	got, err := c.send(ctx, about, func(ctx context.Context, hc *http.Client) error {
		token, tokenErr = c.requester.Token(ctx, hc, c.urls.token.String())
		return tokenErr
	})
	if err != nil {
		return nil, err
	}
	if err := c.checkToken(got, request, tokenErr); err != nil {
		return nil, err
	}
	until := usedUntil(time.Now(), token.Expiry)
	c.mu.Lock()
	c.cached = cachedToken{token: token, until: until}
	c.lastToken = token.AccessToken
	c.mu.Unlock()
	c.log.DebugContext(ctx, "Genesys issued a token", "used_until", until)
	return token, nil
}

// usedUntil returns the time five minutes before the token expires. If the token
// lives ten minutes or less, it is half of the lifetime.
func usedUntil(now, expiry time.Time) time.Time {
	lifetime := assumedLifetime
	if !expiry.IsZero() {
		lifetime = expiry.Sub(now)
	}
	return now.Add(max(lifetime/2, lifetime-refreshEarly))
}

// checkToken returns an error unless the answer of the token endpoint contains a usable
// token. parseErr is the Requester's error.
func (c *Client) checkToken(got *answer, request string, parseErr error) error {
	texts := got.texts()
	redact := c.redactor()
	if got.isTransient() {
		return got.transient(request, redact)
	}
	rejected := got.rejection(request, redact)
	rejected.Cure = tokenCure(got.status, texts["error"])
	if !got.ok() {
		return rejected
	}
	problem := tokenProblem(got, texts, parseErr)
	if problem == "" {
		return nil
	}
	if rejected.Message == "" {
		rejected.Message = problem
	}
	return rejected
}

// tokenProblem says what is wrong with a 2xx answer. It is empty if the answer contains a
// usable token.
func tokenProblem(got *answer, texts map[string]string, parseErr error) string {
	switch {
	case got.truncated:
		return answerTooLong
	case texts == nil:
		return notAnObject
	case texts["error"] != "":
		return "the answer contains an error in spite of its status"
	case texts["access_token"] == "":
		return "the answer lacks access_token, or it is not a string"
	case strings.ContainsFunc(texts["access_token"], func(c rune) bool { return c <= ' ' || c > '~' }):
		return "access_token contains a character that an HTTP header cannot carry"
	case parseErr != nil:
		return "token_type or expires_in has the wrong JSON type"
	}
	return ""
}

// tokenCure names the settings to check if the token request was rejected.
func tokenCure(status int, code string) string {
	switch {
	case code == "invalid_scope":
		return "correct or unset GENESYS_OAUTH_SCOPE"
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "check GENESYS_CLIENT_ID and GENESYS_CLIENT_SECRET (the client needs the grant type Client Credentials), and that GENESYS_API_URL belongs to its region"
	}
	return "check GENESYS_TOKEN_URL, or GENESYS_API_URL if the former is not set"
}
