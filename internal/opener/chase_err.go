package opener

// Err returns why nothing is measured; nil: it is, or there is nobody to measure by.
func (c *Chase) Err() error {
	c.mu.Lock()
	news := c.news
	c.mu.Unlock()
	if news == nil {
		return nil
	}
	return news.Err()
}
