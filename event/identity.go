package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// The name spaces of the ids that this project assigns. Each is a random UUID that must never
// change, because another one would give old events new ids.
var (
	contentSpace  = uuid.MustParse("5b0f6f2c-6c1e-4e0b-9d0e-0c5b1f7a4e21")
	positionSpace = uuid.MustParse("c1d7a3de-9f0e-4a55-8f64-3b2a9d1e7c08")
)

// ContentID returns the id that a decoded event gets from its bytes. Events with equal bytes
// are the same event.
func (e Event) ContentID() string { return uuid.NewSHA1(contentSpace, e.content).String() }

// WithID returns a decoded event with another id. If the id is empty or contains U+FFFD, the
// event gets its ContentID instead. U+FFFD replaces bytes that were not text, so two events
// could share such an id, and the second would be dropped as a duplicate.
func (e Event) WithID(id string) Event {
	switch {
	case id == "" || strings.ContainsRune(id, utf8.RuneError):
		e.ID, e.byContent = e.ContentID(), true
	case id != e.ID:
		e.ID, e.byContent = id, false
	}
	return e
}

// IdentifiedByContent reports whether the event's id was made of its bytes. No other event
// can have such an id.
func (e Event) IdentifiedByContent() bool { return e.byContent }

// Hash returns a hash of the event's type and interaction id, as 64 hex digits. Two events
// with the same id are the same event only if their hashes are equal.
func (e Event) Hash() string {
	sum := sha256.Sum256(delimited([]byte(e.Type), []byte(e.InteractionID)))
	return hex.EncodeToString(sum[:])
}

// Cut returns the event with each of its strings (ID, Type, InteractionID, ChannelType and
// Status) bounded by Cut.
func (e Event) Cut() Event {
	for _, text := range []*string{&e.ID, &e.Type, &e.InteractionID, &e.ChannelType, &e.Status} {
		*text = Cut(*text)
	}
	return e
}

// Undecodable returns the event of a message that is not JSON. Its id is made of the
// message's position and of everything that Kafka stores there. The position alone is not
// enough, because a topic that was created anew, or a topic of another cluster, has other
// messages at the same positions.
func Undecodable(s Source, at time.Time, key, value []byte) Event {
	number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	id := uuid.NewSHA1(positionSpace, delimited(
		[]byte(s.Topic), number(int64(s.Partition)), number(s.Offset), number(at.UnixMilli()), key, value,
	))
	return Event{ID: id.String(), Type: UnknownType, byContent: true}
}

// delimited joins parts and writes the length of each before it, so that no two lists of
// parts give the same bytes.
func delimited(parts ...[]byte) []byte {
	var joined []byte
	for _, part := range parts {
		joined = binary.BigEndian.AppendUint64(joined, uint64(len(part)))
		joined = append(joined, part...)
	}
	return joined
}
