package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"genesys-fanout/internal/devstack"
)

// maxBytes bounds the size of a picture, because everybody who clones the repository
// downloads all of them.
const maxBytes = 300_000

// openBrowser starts chromium with an empty, temporary profile.
func openBrowser(ctx context.Context) (context.Context, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		// The browser must reach nothing but this machine.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("lang", "en-GB"),
		chromedp.Env("TZ=UTC"),
	)
	allocator, closeAllocator := chromedp.NewExecAllocator(ctx, options...)
	browser, closeBrowser := chromedp.NewContext(allocator)
	done := func() {
		closeBrowser()
		closeAllocator()
	}
	if err := chromedp.Do(browser, storeSettings(uiSettings())); err != nil {
		done()
		return nil, nil, fmt.Errorf("chromium did not start: %w", err)
	}
	return browser, done, nil
}

// uiSettings returns the settings that Temporal UI keeps in the browser's local storage, by
// Temporal UI's own keys.
func uiSettings() map[string]any {
	shown := make([]map[string]string, 0, len(columns))
	for _, label := range columns {
		shown = append(shown, map[string]string{"label": label})
	}
	return map[string]any{
		"namespace-workflow-table-columns": map[string]any{devstack.Namespace: shown},
		"navOpen":                          false,
		"savedQueryNavOpen":                false, // to leave more space for the list of workflows
	}
}

// storeSettings writes settings to the local storage of each page before the page's own
// scripts run.
func storeSettings(settings map[string]any) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		entries, err := json.Marshal(settings)
		if err != nil {
			return chromedp.Void{}, err
		}
		script := fmt.Sprintf("for (const [key, value] of Object.entries(%s)) localStorage.setItem(key, JSON.stringify(value))", entries)
		_, err = cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return chromedp.Void{}, err
	}
}

// missing is a script that returns what must still happen before the picture can be taken:
// texts that neither the page nor its frames show yet, and parts that still load or move.
const missing = `texts => {
	const frames = [...document.querySelectorAll('iframe')].map(frame => frame.contentDocument);
	const shown = [document, ...frames].map(d => d?.body?.innerText ?? '').join('\n');
	const lacks = texts.filter(text => !shown.includes(text)).map(text => 'the text ' + text);
	const ends = a => a.effect.getComputedTiming().endTime !== Infinity; // some icons move for ever
	document.getAnimations().filter(a => a.playState === 'running' && ends(a)).forEach(a => lacks.push('the end of the animation of ' + a.effect.target.className));
	document.querySelectorAll('.animate-spin, .animate-pulse').forEach(e => lacks.push('the end of ' + e.className));
	[...document.images].filter(i => !i.complete).forEach(i => lacks.push('the image ' + i.src));
	if (document.fonts.status !== 'loaded') lacks.push('its fonts');
	return lacks;
}`

// painted is a script that waits until all images are decoded and drawn. It first stops
// icons that blink, because otherwise they would be visible in some pictures only.
const painted = `document.getAnimations().forEach(a => a.cancel());
	Promise.all([...document.images].map(image => image.decode()))
	.then(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true)))))`

// take takes a screenshot of the page and writes it to the file path.
func (p picture) take(browser context.Context, s *scene, path string) error {
	address := s.ui + "/namespaces/" + devstack.Namespace + "/" + p.page(s)
	texts := p.shows(s)
	err := chromedp.Do(browser, chromedp.EmulateViewport(width, p.height), chromedp.Navigate(address))
	if err != nil {
		return fmt.Errorf("open %s: %w", address, err)
	}
	complete := "texts => (" + missing + ")(texts).length === 0"
	if _, err := chromedp.Run(browser, chromedp.PollFunction[bool](complete, chromedp.WithPollingArgs(texts), chromedp.WithPollingTimeout(pageTimeout))); err != nil {
		lacks, _ := chromedp.Run(browser, chromedp.PollFunction[[]string](missing, chromedp.WithPollingArgs(texts))) // empty if this fails too
		return fmt.Errorf("%s did not become complete within %s: %w; it lacks %s", address, pageTimeout, err, strings.Join(lacks, ", "))
	}
	if _, err := chromedp.Run(browser, chromedp.Evaluate[bool](painted, chromedp.EvalAwaitPromise)); err != nil {
		return fmt.Errorf("wait for the images of %s: %w", address, err)
	}
	shot, err := chromedp.Run(browser, chromedp.CaptureScreenshot())
	if err != nil {
		return fmt.Errorf("take the screenshot of %s: %w", address, err)
	}
	if len(shot) > maxBytes {
		return fmt.Errorf("the picture has %d bytes, but at most %d are allowed; reduce its height", len(shot), maxBytes)
	}
	return os.WriteFile(path, shot, 0o644)
}
