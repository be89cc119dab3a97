package process

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"genesys-fanout/internal/redact"
	"genesys-fanout/internal/setting"
)

// Secret is a value that no log, error or format verb shows. Only Reveal gives
// it away.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the value itself: hand it to the library that needs it and to
// nothing else.
func (s Secret) Reveal() string { return s.value }

// IsSet reports whether there is a value at all.
func (s Secret) IsSet() bool { return s.value != "" }

// String hides the value.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return redact.Marker
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// Format hides the value from every verb, also from one that does not fit a
// string: fmt would else print the operand beside its complaint.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Secret reads NAME, or the file that NAME_FILE names, as setting.Secret does. It
// is unset if neither is set; the error is a Problem.
func (e Env) Secret(name string) (Secret, error) {
	value, _, err := setting.Secret(name, e.LookupEnv)
	if problem, ok := errors.AsType[*setting.Problem](err); ok {
		return Secret{}, Problem(*problem)
	}
	return NewSecret(value), err
}
