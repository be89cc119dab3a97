package target

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// warn adds a warning about a setting that is legal but may have a surprising effect. The
// position of the warning is that of the first node that is in the file.
func (r *reader) warn(field, what, cure string, at ...ast.Node) {
	for _, node := range at {
		if node != nil {
			line, column := position(node)
			r.warnings = append(r.warnings, Problem{Path: r.path, Line: line, Column: column, Field: field, What: what, Cure: cure})
			return
		}
	}
}

// surprises warns of the surprising effects of a target's settings. whole is the target's own
// node, and given contains the values that the file gives, by key.
func (r *reader) surprises(t *Target, field string, whole ast.Node, given map[string]ast.Node) {
	if t.State == Retired {
		return // a retired target gets no more events
	}
	p := t.Policy
	statuses := join(field, "retry_statuses")
	if !slices.ContainsFunc(t.RetryStatuses, func(status int) bool { return status >= http.StatusInternalServerError }) {
		r.warn(statuses, "contains no 5xx status, so an answer such as 503 makes the event a dead letter at once",
			"add the statuses that are transient for this target, such as [408, 425, 429, 500, 502, 503, 504]", given["retry_statuses"], whole)
	}
	if !slices.Contains(t.RetryStatuses, http.StatusTooManyRequests) {
		r.warn(statuses, "does not contain 429, so an event that meets the target's rate limit becomes a dead letter at once",
			"add 429", given["retry_statuses"], whole)
	}
	if fit := fitting(p.Backoff, p.MaxAttempts, time.Duration(p.MaxAge)); fit < p.MaxAttempts {
		r.warn(join(field, "max_age"), fmt.Sprintf("%s is shorter than the waits between the %d attempts of max_attempts: a delivery expires after %d of them", p.MaxAge, p.MaxAttempts, fit),
			fmt.Sprintf("raise max_age, lower max_attempts to %d, or shorten the backoff", fit), given["max_age"], given["max_attempts"], given["backoff"], whole)
	}
	if p.MaxRetryAfter > p.MaxAge {
		r.warn(join(field, "max_retry_after"), fmt.Sprintf("%s is longer than max_age %s: a delivery expires at once if the target asks for so long a wait", p.MaxRetryAfter, p.MaxAge),
			"lower max_retry_after, or raise max_age", given["max_retry_after"], given["max_age"], whole)
	}
}

// fitting returns how many of the attempts begin within age, if each attempt fails at once and
// the waits between them have no jitter.
func fitting(b Backoff, attempts int, age time.Duration) int {
	initial, longest, left := float64(b.Initial), float64(b.Max), float64(age)
	fit := 1.0
	if b.Multiplier > 1 {
		growing := math.Ceil(math.Log(longest/initial) / math.Log(b.Multiplier)) // the number of waits below the longest one
		sum := func(waits float64) float64 {
			return initial * (math.Pow(b.Multiplier, waits) - 1) / (b.Multiplier - 1)
		}
		if sum(growing) > left {
			fit += math.Floor(math.Log(left*(b.Multiplier-1)/initial+1) / math.Log(b.Multiplier))
			return min(attempts, int(min(fit, maxAttempts)))
		}
		fit += growing
		left -= sum(growing)
	} else {
		longest = initial
	}
	fit += math.Floor(left / longest)
	return min(attempts, int(min(fit, maxAttempts)))
}
