-- Notifications also tell of what a task asks.
ALTER TABLE notification ADD COLUMN question TEXT;  -- QuestionView as JSON; NULL: the run's end is told
