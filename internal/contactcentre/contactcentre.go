// Package contactcentre generates the events of an imaginary contact centre.
// Conversations arrive as a Poisson process on several channels, and the events of each
// come in order. Events of agents' presence and audit events come in between. The
// messages have the shapes of package shapes, with new ids, times and contents.
//
// Time is compressed: a conversation takes about half a minute, so that a short run
// contains complete ones. The package uses no source of randomness other than its seed,
// so the same seed gives the same events.
package contactcentre

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Event is one event and its message on the topic.
type Event struct {
	ID             string
	ConversationID string    // empty if the event belongs to none; as the message key it keeps a conversation on one partition
	At             time.Time // the time of the event
	Message        []byte
}

const (
	// The mean times between the starts of two conversations and between two events of
	// one conversation. Together with the scenarios they give about fifteen open
	// conversations and five or six events per second.
	betweenArrivals = 2 * time.Second
	betweenEvents   = 2 * time.Second

	// betweenOthers is the mean time between two events that belong to no conversation.
	betweenOthers = 4 * time.Second
)

// Centre generates the events of one contact centre. It is not safe for concurrent use.
type Centre struct {
	random      *rand.Rand
	nextArrival time.Time // the start of the next conversation
	nextOther   time.Time // the time of the next event that belongs to no conversation
	open        []*conversation
	agents      []string
	queues      []string
}

// conversation is a conversation that has not ended.
type conversation struct {
	scenario
	id   string
	next time.Time         // the time of its next event
	ids  map[string]string // from an id in the shapes to its replacement in this conversation
}

// scenario is the sequence of events of a kind of conversation.
type scenario struct {
	weight    int // of 100 conversations
	media     string
	direction string
	events    []string // the last part of each event's topic
}

// scenarios are the kinds of conversations. In most of them a customer talks to an agent;
// in some a customer leaves a message or gets a call. The weights assume a centre that
// mainly serves telephone calls, because no public figures were found.
var scenarios = []scenario{
	{40, "VOICE", "INBOUND", []string{
		"customer.start", "flow.start", "flow.outcome", "flow.end", "acd.start", "acd.end", "user.start", "contact", "attributes", "transcription", "user.end", "acw", "wrapup", "customer.end",
	}},
	{10, "VOICE", "INBOUND", []string{
		"customer.start", "flow.start", "flow.end", "acd.start", "acd.end", "voicemail.start", "voicemail.end", "customer.end",
	}},
	{10, "VOICE", "OUTBOUND", []string{
		"outbound", "customer.start", "user.start", "attributes", "user.end", "acw", "wrapup", "customer.end",
	}},
	{18, "MESSAGE", "INBOUND", []string{
		"customer.start", "flow.start", "flow.outcome", "flow.end", "acd.start", "acd.end", "user.start", "attributes", "user.end", "wrapup", "customer.end",
	}},
	{12, "EMAIL", "INBOUND", []string{
		"customer.start", "acd.start", "acd.end", "user.start", "attributes", "user.end", "wrapup", "customer.end",
	}},
	{6, "CHAT", "INBOUND", []string{
		"customer.start", "flow.start", "flow.end", "acd.start", "acd.end", "user.start", "user.end", "wrapup", "customer.end",
	}},
	{4, "CALLBACK", "INBOUND", []string{
		"customer.start", "acd.start", "acd.end", "user.start", "user.end", "acw", "wrapup", "customer.end",
	}},
}

// otherTopics are the topics of events that belong to no conversation, by their last
// part. Three of four such events are presence events.
var otherTopics = []string{"user", "user", "user", "audit"}

// The numbers of queues and agents. The same ones appear in many conversations.
const (
	queueCount = 5
	agentCount = 20
)

// New makes a contact centre whose first event happens at or after now.
func New(seed uint64, now time.Time) *Centre {
	c := &Centre{random: rand.New(rand.NewPCG(seed, seed)), nextArrival: now.UTC(), nextOther: now.UTC()}
	for range queueCount {
		c.queues = append(c.queues, c.uuid())
	}
	for range agentCount {
		c.agents = append(c.agents, c.uuid())
	}
	c.nextOther = c.after(c.nextOther, betweenOthers)
	return c
}

// Next returns the next event of the contact centre. Events come in the order of their
// times.
func (c *Centre) Next() Event {
	for {
		i := c.earliest()
		switch {
		case i >= 0 && !c.open[i].next.After(c.nextArrival) && !c.open[i].next.After(c.nextOther):
			return c.advance(i)
		case !c.nextOther.After(c.nextArrival):
			at := c.nextOther
			c.nextOther = c.after(at, betweenOthers)
			return c.event(nil, otherTopics[c.random.IntN(len(otherTopics))], at)
		}
		c.openConversation()
	}
}

// earliest returns the index of the open conversation whose next event comes first, or
// -1 if no conversation is open.
func (c *Centre) earliest() int {
	first := -1
	for i, conv := range c.open {
		if first < 0 || conv.next.Before(c.open[first].next) {
			first = i
		}
	}
	return first
}

// openConversation starts the next conversation, with a scenario chosen by weight.
func (c *Centre) openConversation() {
	draw := c.random.IntN(100)
	i := 0
	for draw >= scenarios[i].weight {
		draw -= scenarios[i].weight
		i++
	}
	conv := &conversation{scenario: scenarios[i], id: c.uuid(), next: c.nextArrival}
	conv.ids = map[string]string{
		shapeConversation: conv.id,
		shapeQueue:        c.queues[c.random.IntN(len(c.queues))],
		shapeAgent:        c.agents[c.random.IntN(len(c.agents))],
	}
	c.open = append(c.open, conv)
	c.nextArrival = c.after(c.nextArrival, betweenArrivals)
}

// advance returns the next event of an open conversation, and closes the conversation
// after its last event.
func (c *Centre) advance(i int) Event {
	conv := c.open[i]
	kind, at := conv.events[0], conv.next
	conv.next = c.after(at, betweenEvents)
	if conv.events = conv.events[1:]; len(conv.events) == 0 {
		c.open = slices.Delete(c.open, i, i+1)
	}
	return c.event(conv, kind, at)
}

// after returns the time of the next event of a Poisson process whose events are mean
// apart on average. It is cut to milliseconds, the resolution of the times in messages.
func (c *Centre) after(at time.Time, mean time.Duration) time.Time {
	return at.Add(time.Duration(c.random.ExpFloat64() * float64(mean))).Truncate(time.Millisecond)
}

// uuid returns a version 4 UUID that depends on the seed only.
func (c *Centre) uuid() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(c.random.IntN(256))
	}
	id[6], id[8] = id[6]&0x0F|0x40, id[8]&0x3F|0x80 // version 4, RFC 9562
	return id.String()
}
