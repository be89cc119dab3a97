package event

import (
	"encoding/json"
	"strconv"
	"time"
)

// members are the members of a JSON object by their exact names, which
// encoding/json would compare without regard to case in a struct.
type members map[string]json.RawMessage

// object is nil if raw is not a JSON object.
func object(raw []byte) members {
	var m members
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// text is the string member of that name; empty if there is none.
func (m members) text(name string) string { return text(m[name]) }

// text is the string that raw holds; empty if raw is not a JSON string.
func text(raw json.RawMessage) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// moment is the string member of that name as an ISO 8601 time with an offset;
// zero if there is none.
func (m members) moment(name string) time.Time {
	at, err := time.Parse(time.RFC3339, m.text(name)) // accepts a fraction too
	if err != nil {
		return time.Time{}
	}
	return writable(at)
}

// epochMoment is the number member of that name as milliseconds since 1970; zero
// if there is none. A number below 1 counts as unset, because it would make the
// event half a century old.
func (m members) epochMoment(name string) time.Time {
	milliseconds, err := strconv.ParseFloat(string(m[name]), 64)
	if err != nil || milliseconds < 1 || milliseconds >= 1<<53 {
		return time.Time{} // a float64 beyond int64 converts to anything; 2^53 ms is the year 287,396
	}
	return writable(time.UnixMilli(int64(milliseconds)))
}

// anyMoment is the member of that name as a moment or as an epochMoment.
func (m members) anyMoment(name string) time.Time {
	if at := m.moment(name); !at.IsZero() {
		return at
	}
	return m.epochMoment(name)
}

// writable is the time in UTC. It is zero if the year cannot be written as JSON
// again, because such an event could never be started.
func writable(at time.Time) time.Time {
	if at = at.UTC(); at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}
