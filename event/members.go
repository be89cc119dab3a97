package event

import (
	"encoding/json"
	"strconv"
	"time"
)

// members contains the members of a JSON object by their exact names. It is a map, because
// encoding/json ignores upper and lower case when it reads the names into a struct.
type members map[string]json.RawMessage

// object returns the members of a JSON object, or nil if raw is not one.
func object(raw []byte) members {
	var m members
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// text returns the string member of that name. It is empty if there is none.
func (m members) text(name string) string { return text(m[name]) }

// text returns the string that raw contains. It is empty if raw is not a JSON string.
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

// moment reads the string member of that name as an ISO 8601 time with an offset. It is zero
// if there is none.
func (m members) moment(name string) time.Time {
	at, err := time.Parse(time.RFC3339, m.text(name)) // accepts a fraction too
	if err != nil {
		return time.Time{}
	}
	return writable(at)
}

// epochMoment reads the number member of that name as milliseconds since 1970. It is zero if
// there is none. A number below 1 counts as unset, because it would make the event half a
// century old.
func (m members) epochMoment(name string) time.Time {
	milliseconds, err := strconv.ParseFloat(string(m[name]), 64)
	if err != nil || milliseconds < 1 || milliseconds >= 1<<53 {
		return time.Time{} // Go does not define the conversion of a float64 beyond int64; 2^53 ms is the year 287,396
	}
	return writable(time.UnixMilli(int64(milliseconds)))
}

// anyMoment reads the member of that name as a moment or as an epochMoment.
func (m members) anyMoment(name string) time.Time {
	if at := m.moment(name); !at.IsZero() {
		return at
	}
	return m.epochMoment(name)
}

// writable returns the time in UTC. It returns zero if the year cannot be written as JSON,
// because the run of such an event could never be started.
func writable(at time.Time) time.Time {
	if at = at.UTC(); at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}
